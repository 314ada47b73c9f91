"""Small changes of any code, one at a time, and the tests that notice them.

`operators` makes the changes, `coverage_map` finds the tests that run a line, `trial` changes a
function in a child process and runs them, `report` says what came of it. Driven by tools/mutate.py.
"""
