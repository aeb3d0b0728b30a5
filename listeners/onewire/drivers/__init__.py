"""The listeners of 1-Wire buses: through a DS2482, OWFS or the kernel."""
