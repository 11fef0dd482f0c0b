"""What every page uses: language, templates, sign-in, forms, headers."""
