"""The web application: customers, partners, administrators. A client of the admin service; it holds no money logic."""
