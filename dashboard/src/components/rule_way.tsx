// The way that an execution took through its rule: in the text of the rule, where that is here, and as a list.
import { useState } from "preact/hooks";
import type { Step, Why } from "../data/api_types";
import { count, t } from "../text/text";
import { Badge } from "./badge";
import { Words } from "./words";

const SOURCE_BYTES_MAX = 1 << 20;
type Source = { name: string; lines: string[]; isOther: boolean };

export function RuleWay({ why }: { why: Why }) {
  const [source, setSource] = useState<Source>();
  return (
    <>
      {source ? <Text source={source} why={why} /> : <Steps why={why} />}
      <p class="quiet">{source ? t(source.isOther ? "source_other" : "source_yours", { name: source.name }) : t("source_none")}</p>
      <SourceField why={why} onSource={setSource} />
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
    onSource({ name: file.name, lines: text.split(/\r?\n/), isOther });
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
  const acted = new Set(why.actions.map((one) => one.line));
  const trapped = why.execution.trap?.line ?? 0;
  return (
    <div class="scroll source" tabIndex={0} role="region" aria-label={source.name}>
      <ol>
        {source.lines.map((line, at) => {
          const steps = why.path.filter((one) => one.line === at + 1);
          const marks = [acted.has(at + 1) && t("line_acted"), trapped === at + 1 && t("line_trapped")].filter(Boolean).join(", ");
          return (
            <li key={at} class={steps.length || marks ? "marked" : undefined}>
              <code>{line || " "}</code>
              {steps.map((step, number) => (
                <span key={number} class="note">
                  <Taken step={step} />
                </span>
              ))}
              {marks && <span class="note"><Badge tone={trapped === at + 1 ? "bad" : "good"} text={marks} /></span>}
            </li>
          );
        })}
      </ol>
    </div>
  );
}
