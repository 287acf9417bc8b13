"""What the services write to their log, one line for each event."""

import logging


def without_trace_of_refusals(record: logging.LogRecord) -> bool:
    """Django logs a refused request with its traceback, as if it were a fault. The audit has who and what."""
    if getattr(record, "status_code", None) == 403:
        record.exc_info = None
    return True
