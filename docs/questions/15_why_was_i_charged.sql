-- Why was a request charged what it was?
SELECT time, account_id, model, provider, prompt_tokens, completion_tokens, provider_cost_nano / 1e9 AS cost_usd, fx_rate_nano / 1e9 AS fx,
       markup_bps, price_version, charge_nano / 1e9 AS charged, currency, basis
FROM charges
WHERE request_id = (SELECT max(request_id) FROM charges WHERE time > (SELECT max(hour) FROM charges_hourly))
