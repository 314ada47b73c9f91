import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-vectors",
        action="store_true",
        help="write a new file into tests/vectors for what has none",
    )
