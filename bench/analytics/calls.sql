-- The calls of one day, $first to $last of all, each a pure function of its number: the same data at every run.
-- A few accounts make most calls, afternoons are busier than nights, two models in three are cheap ones.
WITH
    (number, salt) -> (cityHash64(number, salt) % 1000003) / 1000003 AS dice,
    (number, salt) -> (dice(number, salt) + dice(number, salt + 1) + dice(number, salt + 2) + dice(number, salt + 3) - 2) * 1.732 AS bell
SELECT
    number,
    toUInt64(floor($accounts * pow(dice(number, 1), 4))) AS account,
    account % 100 BETWEEN 1 AND 15 AS has_partner,
    toUInt8(floor(10 * pow(dice(number, 2), 1.6))) AS choice,
    ['google/gemini-2.5-flash', 'openai/gpt-4o-mini', 'deepseek/deepseek-chat', 'google/gemini-2.5-pro', 'openai/gpt-4.1',
     'meta-llama/llama-3.3-70b', 'anthropic/claude-sonnet-4', 'mistralai/mistral-large', 'openai/o4-mini', 'qwen/qwen3-max'][choice + 1] AS model,
    [300, 150, 280, 1250, 2000, 130, 3000, 2000, 1100, 1200][choice + 1] AS prompt_nano,
    [2500, 600, 880, 10000, 8000, 400, 15000, 6000, 4400, 6000][choice + 1] AS completion_nano,
    [420, 380, 900, 1300, 700, 260, 1100, 620, 2400, 800][choice + 1] AS first_ms,
    [9, 11, 24, 14, 13, 8, 15, 17, 10, 16][choice + 1] AS token_ms,
    if(dice(number, 3) < if(choice IN (1, 4, 8), 0.12, 0.03), 'fallback', 'openrouter') AS provider,
    $day AS day,
    dice(number, 4) AS moment,
    toDateTime64('2026-09-30 21:00:00', 3, 'UTC') + toIntervalMillisecond(toInt64(86400000 *
        ($day + (moment - 0.6 * sin(6.283185 * moment) / 6.283185 + 0.6) - floor(moment - 0.6 * sin(6.283185 * moment) / 6.283185 + 0.6)))) AS time,
    concat('acc_', lower(hex(toFixedString(leftPad(toString(account), 12, '0'), 12)))) AS account_id,
    if(has_partner, concat('acc_', lower(hex(toFixedString(leftPad(toString(account - account % 100), 12, '0'), 12)))), '') AS parent_id,
    concat('key_', lower(hex(toFixedString(leftPad(toString(account * 3 + number % 3), 12, '0'), 12)))) AS key_id,
    concat('req_', leftPad(lower(hex(toUnixTimestamp64Milli(time))), 12, '0'), leftPad(lower(hex(cityHash64(number, 6) % 281474976710656)), 12, '0')) AS request_id,
    toUInt32(greatest(4, exp(6.2 + 1.3 * bell(number, 10)))) AS prompt_tokens,
    toUInt32(greatest(1, exp(5.3 + 1.1 * bell(number, 20)))) AS completion_tokens,
    toInt64(prompt_tokens * prompt_nano + completion_tokens * completion_nano) AS provider_cost_nano,
    toInt64(41500000000 + day * 23000000 + cityHash64(day) % 90000000) AS fx_rate_nano,
    toUInt32(first_ms * 1000 * exp(0.45 * bell(number, 30)) * if(provider = 'fallback', 1.7, 1)) AS first_byte_us,
    toUInt32(least(4000000000, first_byte_us + completion_tokens * token_ms * 1000 * exp(0.2 * bell(number, 40)))) AS duration_us,
    dice(number, 50) AS fate
FROM numbers($first, $count)
