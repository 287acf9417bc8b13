from storagemgr.celery import app
from storagemgr.jobs import runner, sweep


@app.task(name="jobs.run")
def run_job(job_id: int) -> None:
    runner.run(job_id)


@app.task(name="jobs.settle", time_limit=60, expires=10)
def settle_job(job_id: int) -> None:
    sweep.settle(job_id)
