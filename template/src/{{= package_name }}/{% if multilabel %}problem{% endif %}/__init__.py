"""What one answer is: any of several labels, or none.

The folder has the same modules and names for each type of answer; the rest of the package uses only
these. docs/decisions/0005-types-of-answers.md describes them.
"""

PROBLEM = "multilabel"
