"""Your code: the dataset, its features, their contract, and the model.

The rest of the package uses only the functions and constants that these modules define now.
Template updates never change this folder.
"""

INTERFACE = 1
MODALITY = "image"
