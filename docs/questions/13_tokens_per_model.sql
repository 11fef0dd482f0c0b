-- How many tokens does each model read and write, and how many come from a cache?
SELECT model, sum(d.prompt_tokens) AS prompt_tokens, sum(d.completion_tokens) AS completion_tokens,
       round(100 * sum(d.cached_tokens) / prompt_tokens, 1) AS cached_percent,
       round(100 * sum(d.reasoning_tokens) / completion_tokens, 1) AS reasoning_percent,
       round(sum(d.provider_cost_nano) / (prompt_tokens + completion_tokens) / 1e9 * 1e6, 3) AS usd_per_million
FROM charges_daily AS d
GROUP BY model
HAVING prompt_tokens > 0 AND completion_tokens > 0
ORDER BY prompt_tokens DESC
LIMIT 20
