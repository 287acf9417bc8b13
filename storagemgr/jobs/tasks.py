from celery import shared_task

from storagemgr.jobs import runner, sweep


@shared_task(name="jobs.run", queue="jobs")
def run_job(job_id: int) -> None:
    runner.run(job_id)


@shared_task(name="jobs.settle", queue="jobs", time_limit=60, expires=10)
def settle_job(job_id: int) -> None:
    sweep.settle(job_id)
