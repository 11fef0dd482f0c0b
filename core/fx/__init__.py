"""Exchange rates: read from the central bank's bulletin, logged as events, watched for their age."""
