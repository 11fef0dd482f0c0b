// Draws the usage chart; the table below it has the same figures.
const place = document.getElementById("chart");
if (place) {
  const { names, charges, days } = JSON.parse(place.dataset.series);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const money = new Intl.NumberFormat(place.dataset.language === "tr" ? "tr-TR" : "en-GB", {
    style: "currency", currency: place.dataset.currency, currencyDisplay: "narrowSymbol", maximumFractionDigits: 4,
  });
  const day = new Intl.DateTimeFormat(place.dataset.language === "tr" ? "tr-TR" : "en-GB", { day: "numeric", month: "short" });
  const label = (index) => (days ? day.format(new Date(`${names[index]}T12:00:00Z`)) : (names[index] ?? "").split("/").pop().slice(0, 14));
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  const width = () => Math.max(280, place.clientWidth);
  const chart = new uPlot({
    width: width(), height: 260, legend: { show: false }, cursor: { show: false },
    scales: { x: { time: false, range: (_, low, high) => [low - 0.7, high + 0.7] }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
    axes: [
      { ...axis, splits: () => names.map((_, index) => index).filter((index) => index % Math.ceil(names.length / Math.max(2, width() / 90)) === 0),
        values: (_, splits) => splits.map(label) },
      { ...axis, size: 90, values: (_, splits) => splits.map((value) => money.format(value)) },
    ],
    series: [{}, { label: place.dataset.label, fill: colour("--accent"), stroke: colour("--accent"), points: { show: false }, paths: uPlot.paths.bars({ size: [0.7, 60] }) }],
  }, [names.map((_, index) => index), charges], place);
  new ResizeObserver(() => chart.setSize({ width: width(), height: 260 })).observe(place);
}
