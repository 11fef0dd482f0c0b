-- Credits less charges of every account up to a position; a partner pays its own leg of its customers' calls.
SELECT account_id, sum(nano) AS balance_nano
FROM
(
    SELECT account_id, amount_nano AS nano FROM credits WHERE stream_seq <= $last
    UNION ALL
    SELECT account_id, -charge_nano AS nano FROM charges WHERE stream_seq <= $last
    UNION ALL
    SELECT parent_id AS account_id, -parent_charge_nano AS nano FROM charges
    WHERE stream_seq <= $last AND parent_currency != ''
)
GROUP BY account_id
