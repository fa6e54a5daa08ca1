"""How the property tests run: without a deadline, for machines that are busy."""

from hypothesis import settings

settings.register_profile("entrepot", deadline=None)
settings.load_profile("entrepot")
