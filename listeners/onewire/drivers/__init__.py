"""The ways to a 1-Wire bus: DS2482, OWFS and the kernel."""
