"""Payment providers: iyzico's and PayTR's protocols over HTTP, with a hosted page, webhooks, and what goes wrong."""
