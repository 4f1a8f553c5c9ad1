"""The algorithm that `procvision_testing.hook_hosts` installs and runs: it does what a call asks for."""
