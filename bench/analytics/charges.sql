-- Calls that still run when the month ends are not settled yet.
INSERT INTO charges
(
    stream_seq, event_index, time, request_id, attempt, account_id, parent_id, key_id, model, provider, generation_id,
    outcome, call_end, basis, currency, hold_nano, asked_nano, charge_nano, shortfall_nano, parent_currency,
    parent_hold_nano, parent_asked_nano, parent_charge_nano, parent_shortfall_nano, provider_cost_nano, fx_rate_nano,
    markup_bps, parent_fx_rate_nano, parent_markup_bps, price_version, prompt_tokens, completion_tokens, cached_tokens,
    reasoning_tokens, provider_calls, opened_seq, opened_time
)
SELECT
    100 + intDiv(number, 4), number % 4, time + toIntervalMicrosecond(duration_us), request_id, 1, account_id, parent_id,
    key_id, model, provider, concat('gen-', toString(toUnixTimestamp(time)), '-', lower(hex(cityHash64(number, 7)))),
    'settled', multiIf(fate > 0.985, 'cancelled', fate > 0.98, 'cut', fate > 0.978, 'broken', 'completed'),
    multiIf(fate > 0.985, 'estimated', provider = 'fallback', 'provider_tokens', 'provider_cost'), 'TRY',
    asked * 4, asked, asked - short, short, if(has_partner, 'USD', ''),
    if(has_partner, parent_asked * 4, 0), if(has_partner, parent_asked, 0), if(has_partner, parent_asked, 0), 0,
    provider_cost_nano, fx_rate_nano, if(has_partner, 3000, 5000), if(has_partner, 1000000000, 0),
    if(has_partner, 5000, 0), leftPad(lower(hex(cityHash64(model))), 16, '0'), prompt_tokens, completion_tokens,
    if(fate < 0.2, intDiv(prompt_tokens, 2), 0), if(model LIKE '%/o4%', intDiv(completion_tokens * 2, 3), 0),
    1 + (fate > 0.97), 99 + intDiv(number, 4), time
FROM
(
    SELECT
        *,
        intDiv(provider_cost_nano * 15 + 9, 10) AS parent_asked,
        toInt64(ceil(provider_cost_nano * if(has_partner, 1.95, 1.5) * (fx_rate_nano / 1000000000))) AS asked,
        if(fate BETWEEN 0.5 AND 0.5002, intDiv(asked, 10), 0) AS short
    FROM ($calls_sql)
    WHERE fate < 0.99 AND time + toIntervalMicrosecond(duration_us) < toDateTime64('2026-10-31 21:00:00', 3, 'UTC')
)
