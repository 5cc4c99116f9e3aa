import logging

from partwise.run.process import log_to


def test_each_run_of_a_process_logs_to_its_own_file_alone(tmp_path):
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    logger = logging.getLogger("pytorch_lightning")
    before = list(logger.handlers)
    try:
        log_to(first)
        logger.error("one")
        log_to(second)
        logger.error("two")
        assert (first.read_text(), second.read_text()) == ("one\n", "two\n")
        assert len(logger.handlers) == len(before) + 1
    finally:
        logger.handlers = before
