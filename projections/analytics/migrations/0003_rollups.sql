-- Sums by hour and by day. A view adds each insert's rows to them, and a retried insert adds nothing, so they equal
-- the tables they come from. Parts are merged in the background: always read them with sum(...) and GROUP BY.
-- Days are Europe/Istanbul's, as on statements.

CREATE TABLE IF NOT EXISTS charges_hourly
(
    hour DateTime('UTC') COMMENT 'start of the hour, log time of the settlement',
    account_id String COMMENT 'who used it',
    parent_id LowCardinality(String) COMMENT 'the account above; empty: none',
    key_id LowCardinality(String) COMMENT 'the API key',
    model LowCardinality(String) COMMENT 'catalogue id of the model',
    provider LowCardinality(String) COMMENT 'who served it',
    call_end LowCardinality(String) COMMENT 'completed, cancelled, cut, broken',
    currency LowCardinality(String) COMMENT 'of charge and shortfall',
    parent_currency LowCardinality(String) COMMENT 'of parent_charge and parent_shortfall; empty: no partner',
    calls SimpleAggregateFunction(sum, UInt64) COMMENT 'settled requests',
    charge_nano SimpleAggregateFunction(sum, Int64) COMMENT 'paid by the account',
    shortfall_nano SimpleAggregateFunction(sum, Int64) COMMENT 'not covered: the house''s loss',
    parent_charge_nano SimpleAggregateFunction(sum, Int64) COMMENT 'paid by the partner',
    parent_shortfall_nano SimpleAggregateFunction(sum, Int64) COMMENT 'not covered by the partner: the house''s loss',
    provider_cost_nano SimpleAggregateFunction(sum, Int64) COMMENT 'what providers charge the house, 10^-9 USD',
    revenue_usd_nano SimpleAggregateFunction(sum, Int64)
        COMMENT 'what the house earns, 10^-9 USD at each call''s own rate, rounded down: the partner''s leg where there is one',
    prompt_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'tokens read',
    completion_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'tokens written',
    cached_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'of prompt_tokens: from the provider''s cache',
    reasoning_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'of completion_tokens: reasoning',
    provider_calls SimpleAggregateFunction(sum, UInt64) COMMENT 'calls made to providers'
)
ENGINE = $AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (account_id, hour, model, provider, key_id, call_end, currency, parent_id, parent_currency)
SETTINGS $exactly_once
COMMENT 'charges by hour, account, key, model, provider and end';

CREATE TABLE IF NOT EXISTS charges_daily
(
    day Date COMMENT 'Istanbul day of the settlement',
    account_id String COMMENT 'who used it',
    parent_id LowCardinality(String) COMMENT 'the account above; empty: none',
    key_id LowCardinality(String) COMMENT 'the API key',
    model LowCardinality(String) COMMENT 'catalogue id of the model',
    provider LowCardinality(String) COMMENT 'who served it',
    call_end LowCardinality(String) COMMENT 'completed, cancelled, cut, broken',
    currency LowCardinality(String) COMMENT 'of charge and shortfall',
    parent_currency LowCardinality(String) COMMENT 'of parent_charge and parent_shortfall; empty: no partner',
    calls SimpleAggregateFunction(sum, UInt64) COMMENT 'settled requests',
    charge_nano SimpleAggregateFunction(sum, Int64) COMMENT 'paid by the account',
    shortfall_nano SimpleAggregateFunction(sum, Int64) COMMENT 'not covered: the house''s loss',
    parent_charge_nano SimpleAggregateFunction(sum, Int64) COMMENT 'paid by the partner',
    parent_shortfall_nano SimpleAggregateFunction(sum, Int64) COMMENT 'not covered by the partner: the house''s loss',
    provider_cost_nano SimpleAggregateFunction(sum, Int64) COMMENT 'what providers charge the house, 10^-9 USD',
    revenue_usd_nano SimpleAggregateFunction(sum, Int64)
        COMMENT 'what the house earns, 10^-9 USD at each call''s own rate, rounded down: the partner''s leg where there is one',
    prompt_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'tokens read',
    completion_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'tokens written',
    cached_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'of prompt_tokens: from the provider''s cache',
    reasoning_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'of completion_tokens: reasoning',
    provider_calls SimpleAggregateFunction(sum, UInt64) COMMENT 'calls made to providers'
)
ENGINE = $AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (account_id, day, model, provider, key_id, call_end, currency, parent_id, parent_currency)
SETTINGS $exactly_once
COMMENT 'charges by Istanbul day, account, key, model, provider and end';

CREATE MATERIALIZED VIEW IF NOT EXISTS charges_hourly_feed TO charges_hourly AS
SELECT
    toStartOfHour(toDateTime(time, 'UTC')) AS hour,
    account_id, parent_id, key_id, model, provider, toString(call_end) AS call_end, currency, parent_currency,
    count() AS calls,
    sum(c.charge_nano) AS charge_nano,
    sum(c.shortfall_nano) AS shortfall_nano,
    sum(c.parent_charge_nano) AS parent_charge_nano,
    sum(c.parent_shortfall_nano) AS parent_shortfall_nano,
    sum(c.provider_cost_nano) AS provider_cost_nano,
    sum(if(c.parent_currency = '',
        if(c.currency = 'USD', c.charge_nano,
            toInt64(intDivOrZero(toInt128(c.charge_nano) * 1000000000, toInt128(c.fx_rate_nano)))),
        if(c.parent_currency = 'USD', c.parent_charge_nano,
            toInt64(intDivOrZero(toInt128(c.parent_charge_nano) * 1000000000, toInt128(c.parent_fx_rate_nano)))))) AS revenue_usd_nano,
    sum(c.prompt_tokens) AS prompt_tokens,
    sum(c.completion_tokens) AS completion_tokens,
    sum(c.cached_tokens) AS cached_tokens,
    sum(c.reasoning_tokens) AS reasoning_tokens,
    sum(c.provider_calls) AS provider_calls
FROM charges AS c
GROUP BY hour, account_id, parent_id, key_id, model, provider, call_end, currency, parent_currency;

CREATE MATERIALIZED VIEW IF NOT EXISTS charges_daily_feed TO charges_daily AS
SELECT
    toDate(time, 'Europe/Istanbul') AS day,
    account_id, parent_id, key_id, model, provider, toString(call_end) AS call_end, currency, parent_currency,
    count() AS calls,
    sum(c.charge_nano) AS charge_nano,
    sum(c.shortfall_nano) AS shortfall_nano,
    sum(c.parent_charge_nano) AS parent_charge_nano,
    sum(c.parent_shortfall_nano) AS parent_shortfall_nano,
    sum(c.provider_cost_nano) AS provider_cost_nano,
    sum(if(c.parent_currency = '',
        if(c.currency = 'USD', c.charge_nano,
            toInt64(intDivOrZero(toInt128(c.charge_nano) * 1000000000, toInt128(c.fx_rate_nano)))),
        if(c.parent_currency = 'USD', c.parent_charge_nano,
            toInt64(intDivOrZero(toInt128(c.parent_charge_nano) * 1000000000, toInt128(c.parent_fx_rate_nano)))))) AS revenue_usd_nano,
    sum(c.prompt_tokens) AS prompt_tokens,
    sum(c.completion_tokens) AS completion_tokens,
    sum(c.cached_tokens) AS cached_tokens,
    sum(c.reasoning_tokens) AS reasoning_tokens,
    sum(c.provider_calls) AS provider_calls
FROM charges AS c
GROUP BY day, account_id, parent_id, key_id, model, provider, call_end, currency, parent_currency;

CREATE TABLE IF NOT EXISTS requests_hourly
(
    hour DateTime('UTC') COMMENT 'start of the hour, the edge''s clock',
    account_id String COMMENT 'whose key; empty: unknown',
    key_id LowCardinality(String) COMMENT 'the API key; empty: unknown',
    model LowCardinality(String) COMMENT 'model asked for',
    provider LowCardinality(String) COMMENT 'who served it',
    route LowCardinality(String) COMMENT 'chat, models, balance …',
    status UInt16 COMMENT 'HTTP status',
    code LowCardinality(String) COMMENT 'error code; empty: none',
    calls SimpleAggregateFunction(sum, UInt64) COMMENT 'API calls',
    disconnects SimpleAggregateFunction(sum, UInt64) COMMENT 'clients that left before the end',
    request_bytes SimpleAggregateFunction(sum, UInt64) COMMENT 'bytes received',
    response_bytes SimpleAggregateFunction(sum, UInt64) COMMENT 'bytes sent',
    first_byte_us SimpleAggregateFunction(sum, UInt64) COMMENT 'sum of microseconds until the first byte',
    duration_us SimpleAggregateFunction(sum, UInt64) COMMENT 'sum of microseconds until the end'
)
ENGINE = $AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (account_id, hour, model, route, status, code, provider, key_id)
SETTINGS $exactly_once
COMMENT 'requests by hour, account, key, model, provider, route, status and code';

CREATE TABLE IF NOT EXISTS requests_daily
(
    day Date COMMENT 'Istanbul day, the edge''s clock',
    account_id String COMMENT 'whose key; empty: unknown',
    key_id LowCardinality(String) COMMENT 'the API key; empty: unknown',
    model LowCardinality(String) COMMENT 'model asked for',
    provider LowCardinality(String) COMMENT 'who served it',
    route LowCardinality(String) COMMENT 'chat, models, balance …',
    status UInt16 COMMENT 'HTTP status',
    code LowCardinality(String) COMMENT 'error code; empty: none',
    calls SimpleAggregateFunction(sum, UInt64) COMMENT 'API calls',
    disconnects SimpleAggregateFunction(sum, UInt64) COMMENT 'clients that left before the end',
    request_bytes SimpleAggregateFunction(sum, UInt64) COMMENT 'bytes received',
    response_bytes SimpleAggregateFunction(sum, UInt64) COMMENT 'bytes sent',
    first_byte_us SimpleAggregateFunction(sum, UInt64) COMMENT 'sum of microseconds until the first byte',
    duration_us SimpleAggregateFunction(sum, UInt64) COMMENT 'sum of microseconds until the end'
)
ENGINE = $AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (account_id, day, model, route, status, code, provider, key_id)
SETTINGS $exactly_once
COMMENT 'requests by Istanbul day, account, key, model, provider, route, status and code';

CREATE MATERIALIZED VIEW IF NOT EXISTS requests_hourly_feed TO requests_hourly AS
SELECT
    toStartOfHour(toDateTime(time, 'UTC')) AS hour,
    account_id, key_id, model, provider, route, status, code,
    count() AS calls,
    countIf(r.disconnected) AS disconnects,
    sum(r.request_bytes) AS request_bytes,
    sum(r.response_bytes) AS response_bytes,
    sum(r.first_byte_us) AS first_byte_us,
    sum(r.duration_us) AS duration_us
FROM requests AS r
GROUP BY hour, account_id, key_id, model, provider, route, status, code;

CREATE MATERIALIZED VIEW IF NOT EXISTS requests_daily_feed TO requests_daily AS
SELECT
    toDate(time, 'Europe/Istanbul') AS day,
    account_id, key_id, model, provider, route, status, code,
    count() AS calls,
    countIf(r.disconnected) AS disconnects,
    sum(r.request_bytes) AS request_bytes,
    sum(r.response_bytes) AS response_bytes,
    sum(r.first_byte_us) AS first_byte_us,
    sum(r.duration_us) AS duration_us
FROM requests AS r
GROUP BY day, account_id, key_id, model, provider, route, status, code;

-- Quantiles cannot be summed, and a sketch for each account and key would be larger than the rows themselves: latency
-- is kept by model and provider. A customer's own latency is read from requests.
CREATE TABLE IF NOT EXISTS latency_hourly
(
    hour DateTime('UTC') COMMENT 'start of the hour, the edge''s clock',
    model LowCardinality(String) COMMENT 'model asked for',
    provider LowCardinality(String) COMMENT 'who served it',
    route LowCardinality(String) COMMENT 'chat, models, balance …',
    streamed Bool COMMENT 'answered as an event stream',
    succeeded Bool COMMENT 'status below 400',
    calls SimpleAggregateFunction(sum, UInt64) COMMENT 'API calls',
    first_byte_us AggregateFunction(quantilesTDigest(0.5, 0.9, 0.99), UInt32)
        COMMENT 'microseconds until the first byte; read with quantilesTDigestMerge(0.5, 0.9, 0.99)',
    duration_us AggregateFunction(quantilesTDigest(0.5, 0.9, 0.99), UInt32)
        COMMENT 'microseconds until the end; read with quantilesTDigestMerge(0.5, 0.9, 0.99)'
)
ENGINE = $AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, model, provider, route, streamed, succeeded)
SETTINGS $exactly_once
COMMENT 'Latency and time to first byte by hour, model and provider, as sketches';

CREATE MATERIALIZED VIEW IF NOT EXISTS latency_hourly_feed TO latency_hourly AS
SELECT
    toStartOfHour(toDateTime(time, 'UTC')) AS hour,
    model, provider, route, streamed, r.status > 0 AND r.status < 400 AS succeeded,
    count() AS calls,
    quantilesTDigestState(0.5, 0.9, 0.99)(r.first_byte_us) AS first_byte_us,
    quantilesTDigestState(0.5, 0.9, 0.99)(r.duration_us) AS duration_us
FROM requests AS r
GROUP BY hour, model, provider, route, streamed, succeeded;
