"""Sphinx settings of the manual: `make docs` builds it into build/docs."""

from gateway.version import VERSION

project = "oemgateway"
version = release = VERSION
html_theme = "alabaster"
html_theme_options = {"description": "Sensor and radio readings, by index, none lost", "page_width": "1100px"}
html_static_path = ["custom.css"]
exclude_patterns = ["manual"]
nitpicky = True
