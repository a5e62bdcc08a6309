// The way that an execution took through its rule: in the text of the rule, where that is here, and as a list.
import { useState } from "preact/hooks";
import type { ProgramSource, Step, Why } from "../data/api_types";
import { names, useRead } from "../data/lists";
import { count, t } from "../text/text";
import { Badge } from "./badge";
import { SourceText } from "./source_text";
import { Words } from "./words";

const SOURCE_BYTES_MAX = 1 << 20;
type Source = { name: string; text: string; isOther: boolean };

/** The coordinator has the text only if it compiles to this program. Without it, the reader may choose a file. */
export function RuleWay({ why }: { why: Why }) {
  const [chosen, setChosen] = useState<Source>();
  const kept = useRead<ProgramSource>(`/api/programs/${encodeURIComponent(why.program.id)}/source`, {}, (news) => names(news, ["program"], why.program.id));
  const text = kept.value?.source;
  if (text) return <Text source={{ name: t("source_title"), text, isOther: false }} why={why} />;
  if (!kept.value && !kept.error) return <p>{t("loading")}</p>;
  return (
    <>
      {chosen ? <Text source={chosen} why={why} /> : <Steps why={why} />}
      <p class="quiet">{chosen ? t(chosen.isOther ? "source_other" : "source_yours", { name: chosen.name }) : t("source_none")}</p>
      <SourceField why={why} onSource={setChosen} />
    </>
  );
}

/** The text of the rule from a file of the reader, as `eyeflow why --source` has it. It does not leave the browser. */
function SourceField({ why, onSource }: { why: Why; onSource: (source: Source) => void }) {
  const [isTooLarge, setTooLarge] = useState(false);
  const take = async (file: File | undefined) => {
    setTooLarge(!!file && file.size > SOURCE_BYTES_MAX);
    if (!file || file.size > SOURCE_BYTES_MAX) return;
    const text = await file.text();
    const { rule } = why.execution;
    const isOther = !text.includes(`rule ${rule}`) || !(text.includes(`"${why.program.version}"`) || !why.program.version);
    onSource({ name: file.name, text, isOther });
  };
  return (
    <p>
      <label>
        {t("source_choose")} <input type="file" accept=".eye" onChange={(event) => {
          const field = event.currentTarget;
          void take(field.files?.[0]).finally(() => (field.value = "")); // the same file may come again, changed
        }} />
      </label>
      {isTooLarge && <span role="alert" class="bad"> {t("source_large")}</span>}
    </p>
  );
}

/** Without the text: each branch by its line, what was compared, and whether its condition was true. */
function Steps({ why }: { why: Why }) {
  if (!why.path.length) return <p>{why.stateBefore ? t("way_straight") : t("way_not_known")}</p>;
  return (
    <>
      <ol class="plain">
        {why.path.map((step, at) => (
          <li key={at}>
            {t("at_line", { line: step.line })} <Taken step={step} />
          </li>
        ))}
      </ol>
      {why.pathLeftOut > 0 && <p>{count("way_left_out", why.pathLeftOut)}</p>}
    </>
  );
}

function Taken({ step }: { step: Step }) {
  return (
    <>
      <Badge tone={step.taken ? "good" : "quiet"} text={t(step.taken ? "branch_true" : "branch_false")} />{" "}
      <Words text={step.compared.join("; ")} />
    </>
  );
}

/** The text with the lines marked where it branched, and where it acted or trapped. */
function Text({ source, why }: { source: Source; why: Why }) {
  const lines = new Set([...why.path.map((one) => one.line), ...why.actions.map((one) => one.line), why.execution.trap?.line ?? 0]);
  const notes = new Map([...lines].map((line) => [line, <Notes line={line} why={why} />]));
  return (
    <>
      {!why.path.length && <p>{why.stateBefore ? t("way_straight") : t("way_not_known")}</p>}
      <SourceText name={source.name} text={source.text} notes={notes} />
    </>
  );
}

/** What happened at a line. */
function Notes({ line, why }: { line: number; why: Why }) {
  return (
    <>
      {why.path.filter((one) => one.line === line).map((step, at) => (
        <span key={at} class="note">
          <Taken step={step} />
        </span>
      ))}
      {why.actions.some((one) => one.line === line) && (
        <span class="note">
          <Badge tone="good" text={t("line_acted")} />
        </span>
      )}
      {why.execution.trap?.line === line && (
        <span class="note">
          <Badge tone="bad" text={t("line_trapped")} />
        </span>
      )}
    </>
  );
}
