import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { language, number, t } from "../text/text";
import { day, local, utc } from "../text/times";

type Series = { title: string; values: readonly (number | null)[]; isDashed?: boolean };
type Props = { title: string; unit: string; timesUs: readonly number[]; series: readonly Series[] };

const STEPS_S = [60, 300, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800];
const DAY_S = 86400;
const HEIGHT = 180;
const POINTS_MIN = 2; // the first one is of a part of its time
const GAP = 2; // a hole wider than this many steps is one: nothing was kept then

/** Curves over time. Who does not see them reads the newest and the highest value, and may open the values as a table. */
export function Chart({ title, unit, timesUs, series }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const { x, ys } = withHoles(timesUs, series);
  const names = series.map((one) => one.title).join();
  useEffect(() => {
    const box = place.current;
    if (!box) return undefined;
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(box, series), [[...x], ...ys] as uPlot.AlignedData, box);
    };
    const resize = new ResizeObserver(() => plot.current?.setSize({ width: box.clientWidth, height: HEIGHT }));
    draw();
    resize.observe(box);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    addEventListener("eyeflow-theme", draw);
    dark.addEventListener("change", draw);
    return () => {
      resize.disconnect();
      removeEventListener("eyeflow-theme", draw);
      dark.removeEventListener("change", draw);
      plot.current?.destroy();
    };
  }, [names, language.value]);
  useEffect(() => plot.current?.setData([[...x], ...ys] as uPlot.AlignedData), [timesUs, series]);
  return (
    <figure class="chart">
      <figcaption>
        {title} ({unit})
      </figcaption>
      <div ref={place} aria-hidden="true" hidden={timesUs.length < POINTS_MIN} />
      {timesUs.length < POINTS_MIN ? <p>{t("chart_soon")}</p> : series.map((one) => <p key={one.title}>{summary(one, unit)}</p>)}
      <Values title={title} timesUs={timesUs} series={series} />
    </figure>
  );
}

function summary(one: Series, unit: string): string {
  const known = one.values.filter((value) => value !== null);
  if (!known.length) return t("chart_nothing", { title: one.title });
  return t("chart_summary", { title: one.title, now: number(known.at(-1), 1), most: number(Math.max(...known), 1), unit });
}

const SHOWN = 60;

function Values({ title, timesUs, series }: Pick<Props, "title" | "timesUs" | "series">) {
  const newest = timesUs.map((us, at) => ({ us, at })).slice(-SHOWN).reverse();
  return (
    <details>
      <summary>{t("chart_values", { title })}</summary>
      <div class="scroll" tabIndex={0} role="region" aria-label={title}>
        <table>
          <thead>
            <tr>
              <th scope="col">{t("time")}</th>
              {series.map((one) => (
                <th key={one.title} scope="col" class="number">
                  {one.title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {newest.map(({ us, at }) => (
              <tr key={us}>
                <th scope="row" title={utc(us / 1000)}>{local(us / 1000, false)}</th>
                {series.map((one) => (
                  <td key={one.title} class="number">
                    {number(one.values[at], 1)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

/** Return times in seconds and values with a null in each hole: a line over it would tell of what nobody knows. */
function withHoles(timesUs: readonly number[], series: readonly Series[]) {
  const step = Math.min(...timesUs.slice(1).map((us, at) => us - (timesUs[at] ?? us)), Infinity);
  const x: number[] = [];
  const ys: (number | null)[][] = series.map(() => []);
  timesUs.forEach((us, at) => {
    const before = timesUs[at - 1];
    if (before !== undefined && us - before > GAP * step) {
      x.push((before + step) / 1e6);
      ys.forEach((values) => values.push(null));
    }
    x.push(us / 1e6);
    ys.forEach((values, of) => values.push(series[of]?.values[at] ?? null));
  });
  return { x, ys };
}

function options(box: HTMLElement, series: readonly Series[]): uPlot.Options {
  const style = getComputedStyle(box);
  const color = (name: string) => style.getPropertyValue(name).trim();
  const axis = { stroke: color("--text"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 } };
  return {
    width: box.clientWidth || 300,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(1, high ?? 1)] } },
    axes: [
      { ...axis, values: (_, ticks, __, ___, step) => ticks.map((s) => (step < DAY_S ? local(s * 1000, false) : day(s * 1000))), space: 90, incrs: STEPS_S },
      { ...axis, values: (_, ticks) => ticks.map((value) => number(value, 1)), size: 60 },
    ],
    series: [{}, ...series.map((one, at) => ({ label: one.title, stroke: color(at ? "--bad" : "--accent"), width: 2, ...(one.isDashed ? { dash: [6, 4] } : {}) }))],
  };
}
