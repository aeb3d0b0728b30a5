"""The manual pages and the completion of `oemgateway`, made from its parser and its configuration file."""
