"""Nothing grows past what one reads at a time."""

from tests.house.modules import MODULES, listed

MODULE_LINES, FUNCTION_LINES = 300, 40  # of code


def test_modules_and_functions_stay_short():
    sizes = {module.place: module.code_lines() for module in MODULES}
    long = [f"{name}: {lines}" for name, lines in sizes.items() if lines > MODULE_LINES]
    long += [
        f"{module.at(function)} {function.name}: {lines}"
        for module in MODULES
        for function in module.functions
        if (lines := module.code_lines(function)) > FUNCTION_LINES
    ]
    assert not long, listed(long)
