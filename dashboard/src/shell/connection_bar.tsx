// Whether what the page shows is of now, in words: never only by a colour.
import { session } from "../data/api";
import { connection } from "../data/feed";
import { local } from "../text/times";
import { t } from "../text/text";

export function ConnectionBar() {
  const found = connection.value;
  const isLost = session.value && found.state === "lost";
  return (
    <div role="status" class={isLost ? "lost" : "unseen"}>
      {isLost ? t("connection_lost", { time: local(found.sinceMs) }) : session.value && found.state === "live" ? t("connection_live") : ""}
    </div>
  );
}
