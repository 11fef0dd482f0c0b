"""Who somebody is: passwords, second factor, sessions, e-mailed links, and how often one may try."""
