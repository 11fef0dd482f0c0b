-- Questions that need both sides, or several tables, asked once and rightly.

CREATE OR REPLACE VIEW calls
(
    time DateTime64(3, 'UTC') COMMENT 'when the edge received it',
    request_id String COMMENT 'req_ + 24 hex digits',
    account_id String COMMENT 'whose key; empty: unknown',
    key_id String COMMENT 'the API key; empty: unknown',
    model String COMMENT 'model asked for',
    route String COMMENT 'chat, models, balance …',
    status UInt16 COMMENT 'HTTP status',
    code String COMMENT 'error code; empty: none',
    first_byte_us UInt32 COMMENT 'microseconds until the first byte',
    duration_us UInt32 COMMENT 'microseconds until the end',
    streamed Bool COMMENT 'answered as an event stream',
    disconnected Bool COMMENT 'the client left before the end',
    edge String COMMENT 'which edge',
    settled Bool COMMENT 'the ledger has charged it; the columns after this one are empty when not',
    settled_time DateTime64(3, 'UTC') COMMENT 'log time of the settlement',
    provider String COMMENT 'who served it',
    call_end String COMMENT 'completed, cancelled, cut, broken',
    currency String COMMENT 'of charge_nano and shortfall_nano',
    charge_nano Int64 COMMENT 'what the account paid',
    shortfall_nano Int64 COMMENT 'not covered: the house''s loss',
    provider_cost_nano Int64 COMMENT 'what the provider charges the house, 10^-9 USD',
    prompt_tokens UInt32 COMMENT 'tokens read',
    completion_tokens UInt32 COMMENT 'tokens written'
)
AS SELECT
    r.time AS time,
    r.request_id AS request_id,
    r.account_id AS account_id,
    r.key_id AS key_id,
    r.model AS model,
    r.route AS route,
    r.status AS status,
    r.code AS code,
    r.first_byte_us AS first_byte_us,
    r.duration_us AS duration_us,
    r.streamed AS streamed,
    r.disconnected AS disconnected,
    r.edge AS edge,
    c.stream_seq > 0 AS settled,
    c.time AS settled_time,
    if(c.stream_seq > 0, c.provider, r.provider) AS provider,
    if(c.stream_seq > 0, toString(c.call_end), '') AS call_end,
    c.currency AS currency,
    c.charge_nano AS charge_nano,
    c.shortfall_nano AS shortfall_nano,
    c.provider_cost_nano AS provider_cost_nano,
    c.prompt_tokens AS prompt_tokens,
    c.completion_tokens AS completion_tokens
FROM requests AS r LEFT JOIN charges AS c ON c.account_id = r.account_id AND c.request_id = r.request_id
COMMENT 'Each API call with what the edge saw and what the ledger charged. Name an account: only its rows are joined then';

CREATE OR REPLACE VIEW balances
(
    account_id String COMMENT 'acc_ + 24 hex digits',
    parent_id String COMMENT 'the account above; empty: none',
    kind String COMMENT 'user, project, partner, partner_customer, organisation, partner_project',
    currency String COMMENT 'of the amounts',
    credits_nano Int64 COMMENT 'money that came, less what went back or was moved away',
    charges_nano Int64 COMMENT 'paid for own calls, and for customers'' calls as their partner',
    balance_nano Int64 COMMENT 'credits - charges; what running calls hold is still in it',
    last_charge_time DateTime64(3, 'UTC') COMMENT 'start of the day of the newest charge'
)
AS SELECT
    a.account_id AS account_id,
    a.parent_id AS parent_id,
    a.kind AS kind,
    a.currency AS currency,
    c.credits_nano AS credits_nano,
    u.charges_nano AS charges_nano,
    c.credits_nano - u.charges_nano AS balance_nano,
    u.last_charge_time AS last_charge_time
FROM accounts AS a
LEFT JOIN (SELECT account_id, sum(amount_nano) AS credits_nano FROM credits GROUP BY account_id) AS c
    ON c.account_id = a.account_id
LEFT JOIN
(
    SELECT account_id, sum(nano) AS charges_nano, toDateTime64(max(last_day), 3, 'UTC') AS last_charge_time
    FROM
    (
        SELECT account_id, sum(charge_nano) AS nano, max(day) AS last_day FROM charges_daily GROUP BY account_id
        UNION ALL
        SELECT parent_id AS account_id, sum(parent_charge_nano) AS nano, max(day) AS last_day
        FROM charges_daily WHERE parent_currency != '' GROUP BY parent_id
    )
    GROUP BY account_id
) AS u ON u.account_id = a.account_id
COMMENT 'What each account has, from credits and charges. The ledger decides; this says the same, seconds later';

-- A Decimal of nine places is an Int64 of nano-units read otherwise: no division, nothing rounded.
CREATE OR REPLACE VIEW margins
(
    day Date COMMENT 'Istanbul day',
    account_id String COMMENT 'who used it',
    model String COMMENT 'catalogue id of the model',
    provider String COMMENT 'who served it',
    calls UInt64 COMMENT 'settled requests',
    revenue_usd Decimal(18, 9) COMMENT 'what the house earned, USD: the partner''s leg where there is one',
    cost_usd Decimal(18, 9) COMMENT 'what providers charge the house, USD',
    margin_usd Decimal(18, 9) COMMENT 'revenue_usd - cost_usd'
)
AS SELECT
    day, account_id, model, provider, calls,
    reinterpret(toInt64(revenue_usd_nano), 'Decimal(18, 9)') AS revenue_usd,
    reinterpret(toInt64(provider_cost_nano), 'Decimal(18, 9)') AS cost_usd,
    reinterpret(toInt64(revenue_usd_nano - provider_cost_nano), 'Decimal(18, 9)') AS margin_usd
FROM charges_daily
COMMENT 'What the house earned and what it cost, in USD, by Istanbul day, account, model and provider. Sum it: a group has several rows';

CREATE OR REPLACE VIEW task_ends
(
    time DateTime64(3, 'UTC') COMMENT 'log time of the submission',
    request_id String COMMENT 'req_ + 24 hex digits',
    account_id String COMMENT 'whose task',
    model String COMMENT 'catalogue id of the model',
    provider String COMMENT 'who makes it',
    ended String COMMENT 'charged, released, or running',
    reason String COMMENT 'why it was released',
    seconds Float64 COMMENT 'from submission to its end; 0 while it runs',
    currency String COMMENT 'of charge_nano',
    charge_nano Int64 COMMENT 'what the account paid'
)
AS SELECT
    t.time AS time, t.request_id AS request_id, t.account_id AS account_id, t.model AS model, t.provider AS provider,
    multiIf(c.stream_seq > 0, 'charged', r.stream_seq > 0, 'released', 'running') AS ended,
    r.reason AS reason,
    multiIf(c.stream_seq > 0, dateDiff('millisecond', t.time, c.time) / 1000,
            r.stream_seq > 0, dateDiff('millisecond', t.time, r.time) / 1000, 0) AS seconds,
    t.currency AS currency,
    c.charge_nano AS charge_nano
FROM tasks AS t
LEFT JOIN charges AS c ON c.request_id = t.request_id
LEFT JOIN releases AS r ON r.request_id = t.request_id AND r.attempt = t.attempt
COMMENT 'Media tasks with how and when they ended';
