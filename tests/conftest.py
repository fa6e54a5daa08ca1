"""What every test has."""

from hypothesis import settings

pytest_plugins = ["tests.databases", "tests.not_run"]

# Without a deadline, for machines that are busy. `dev.py test --quick` asks for fewer examples.
settings.register_profile("whole", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=25)
settings.load_profile("whole")
