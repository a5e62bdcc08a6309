import { Badge, type Tone } from "../components/badge";
import type { DeploymentSummary } from "../data/api_types";
import { t } from "../text/text";

const TONES: Record<DeploymentSummary["state"], Tone> = {
  pending: "quiet",
  installing: "quiet",
  observing: "quiet",
  rollingBack: "warn",
  succeeded: "good",
  failed: "bad",
  cancelled: "quiet",
  superseded: "quiet",
  rolledBack: "warn",
};

/** Where a deployment stands, and whether it is paused. */
export function DeploymentState({ one }: { one: DeploymentSummary }) {
  const text = t(`deployment_${one.state}`);
  if (!one.over && one.paused.length) return <Badge tone="warn" text={t("state_paused", { state: text })} />;
  return <Badge tone={TONES[one.state]} text={text} />;
}
