"""What one answer is: the next values of a series, with an interval around each.

The folder has the same modules and names for each type of answer; the rest of the package uses only
these. docs/decisions/0005-types-of-answers.md describes them.
"""

PROBLEM = "forecast"
