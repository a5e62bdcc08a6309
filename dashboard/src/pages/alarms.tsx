// Alarms: those that last with since when and what to do, the worst first; whoever looks after one says so; then the past.
import { useEffect, useId, useState } from "preact/hooks";
import { Badge } from "../components/badge";
import { ErrorText } from "../components/button";
import { Heading } from "../components/heading";
import { PageLink } from "../components/page_link";
import { Reading } from "../components/reading";
import { type Column, Pager, Table } from "../components/table";
import { Time } from "../components/time";
import { TroubleRow } from "../components/troubles";
import { Words } from "../components/words";
import { ApiError, ask, may } from "../data/api";
import type { Alarm, Alarms } from "../data/api_types";
import { watch } from "../data/feed";
import { names, useRead, useRows } from "../data/lists";
import { ALARM_KINDS, ofAlarm, pageOfAlarm, titleOfAlarm, worstFirst } from "../data/troubles";
import { choose, query } from "../shell/router";
import { type Key, count, number, t } from "../text/text";

const OPEN_MAX = 1_000; // as many as one answer has: they are sorted here, so all of them are read
const SHOWN = 100; // and so many more with each press
const ROWS = 50;
const NOTE_CHARS_MAX = 500;

export default function AlarmsPage() {
  const kind = query.value.get("kind") ?? "";
  const open = useRows("alarms", { open: true, kind, limit: OPEN_MAX });
  useEffect(() => watch({}), []);
  return (
    <>
      <Heading text={t("alarms_title")} />
      <search class="filters">
        <label>
          {t("alarm_kind")}{" "}
          <select value={kind} onChange={(event) => choose({ kind: event.currentTarget.value })}>
            <option value="">{t("filter_any")}</option>
            {ALARM_KINDS.map((one) => (
              <option key={one} value={one}>
                {t(`kind_${one}` as Key)}
              </option>
            ))}
          </select>
        </label>
      </search>
      <section aria-labelledby="open">
        <h2 id="open">{t("alarms_worst_first")}</h2>
        <Reading read={open}>{(page) => <Open alarms={page.rows.filter((one) => one.open)} isMore={!!page.nextCursor} isAny={!kind} />}</Reading>
      </section>
      <Ended key={kind} kind={kind} />
    </>
  );
}

function Open({ alarms, isMore, isAny }: { alarms: readonly Alarm[]; isMore: boolean; isAny: boolean }) {
  const [shown, setShown] = useState(SHOWN);
  if (!alarms.length) return <p class="good">{t(isAny ? "alarms_none" : "alarms_none_fit")}</p>;
  return (
    <>
      <p>{count("alarms_open", alarms.length)}</p>
      {isMore && <p>{t("alarms_more", { n: number(alarms.length) })}</p>}
      <ol class="troubles" aria-live="polite" aria-relevant="additions">
        {worstFirst(alarms).slice(0, shown).map((one) => (
          <TroubleRow {...ofAlarm(one)} key={one.id}>
            <Acknowledged one={one} />
            {may("deploy") && <Acknowledge one={one} />}
          </TroubleRow>
        ))}
      </ol>
      {alarms.length > shown && (
        <p>
          <button type="button" onClick={() => setShown(shown + SHOWN)}>
            {t("alarms_show", { n: number(Math.min(SHOWN, alarms.length - shown)) })}
          </button>
        </p>
      )}
    </>
  );
}

function Acknowledged({ one }: { one: Alarm }) {
  if (!one.acknowledgedUs) {
    return (
      <p>
        <Badge tone="warn" text={t("alarm_new")} />
      </p>
    );
  }
  return (
    <p>
      <Badge tone="good" text={t("alarm_seen", { name: one.acknowledgedBy })} /> <Time us={one.acknowledgedUs} />
      {one.note && (
        <>
          {" · "}
          {t("alarm_note")}: <q>{one.note}</q>
        </>
      )}
    </p>
  );
}

/** Takes note of an alarm. The note of somebody else is replaced: the log keeps it. */
function Acknowledge({ one }: { one: Alarm }) {
  const [note, setNote] = useState("");
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const field = useId();
  const send = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await ask("POST", `/api/alarms/${encodeURIComponent(one.id)}/acknowledge`, { note: note.trim() });
      setNote("");
    } catch (raised) {
      if (!(raised instanceof ApiError)) throw raised;
      setError(raised);
    } finally {
      setBusy(false);
    }
  };
  return (
    <details class="acknowledge">
      <summary>{t(one.acknowledgedUs ? "acknowledge_again" : "acknowledge")}</summary>
      <form onSubmit={send as never}>
        <label for={field}>{t("acknowledge_note")}</label>
        <input id={field} value={note} maxLength={NOTE_CHARS_MAX} onInput={(event) => setNote(event.currentTarget.value)} />
        <button type="submit" disabled={isBusy}>
          {isBusy ? t("working") : t("acknowledge")}
        </button>
        <span role="alert">{error && <ErrorText error={error} />}</span>
      </form>
    </details>
  );
}

function Ended({ kind }: { kind: string }) {
  const [cursor, setCursor] = useState("");
  const ended = useRead<Alarms>("/api/alarms", { open: false, kind, limit: ROWS, cursor }, (news) => names(news, ["alarm"]));
  return (
    <section aria-labelledby="ended">
      <h2 id="ended">{t("alarms_ended")}</h2>
      <Reading read={ended}>
        {(page) => (
          <>
            <Table caption={t("alarms_ended")} columns={columns()} rows={page.alarms} keyOf={(one) => one.id} empty={t("alarms_none_ended")} />
            <Pager next={page.nextCursor} isFirst={!cursor} onPage={setCursor} />
          </>
        )}
      </Reading>
    </section>
  );
}

const columns = (): Column<Alarm>[] => [
  { title: t("alarm_title"), cell: (one) => (pageOfAlarm(one) === "/alarms" ? titleOfAlarm(one) : <PageLink to={pageOfAlarm(one)}>{titleOfAlarm(one)}</PageLink>) },
  { title: t("began_at"), cell: (one) => <Time us={one.sinceUs} /> },
  { title: t("ended_at"), cell: (one) => <Time us={one.endedUs} /> },
  { title: t("ended_by"), cell: (one) => <Words text={one.ended} /> },
  { title: t("who"), cell: (one) => one.acknowledgedBy || "–" },
  { title: t("alarm_note"), cell: (one) => one.note || "–" },
];
