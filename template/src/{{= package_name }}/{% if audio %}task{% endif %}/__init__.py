"""What makes this project yours: the data, its features, their contract and the model.

The rest of the package asks this folder for the names below and nothing else. `copier update`
never touches it.
"""

INTERFACE = 1
MODALITY = "audio"
