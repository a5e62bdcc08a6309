// Where the reader is: the path chooses the page, the query keeps what they chose on it.
import { computed, signal } from "@preact/signals";

const place = signal({ path: location.pathname, query: location.search });
export const path = computed(() => place.value.path);
export const query = computed(() => new URLSearchParams(place.value.query));
/** Raised with each step to another page: the heading of the page takes the focus then. */
export const steps = signal(0);

/** Follow links and the browser's own buttons. */
export function followLinks(): void {
  addEventListener("popstate", () => {
    const isOther = location.pathname !== path.peek();
    place.value = { path: location.pathname, query: location.search };
    if (isOther) steps.value += 1;
  });
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    const isPlain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
    if (!link || !isPlain || link.target || link.origin !== location.origin || link.dataset.outside !== undefined) return;
    if (link.hash && link.pathname === location.pathname) return; // within the page
    event.preventDefault();
    go(link.pathname + link.search);
  });
}

/** Go to another page. */
export function go(address: string, isReplaced = false): void {
  history[isReplaced ? "replaceState" : "pushState"](null, "", address);
  place.value = { path: location.pathname, query: location.search };
  steps.value += 1;
  scrollTo(0, 0);
}

/** Keep what the reader chose in the address: a link to it, and the way back, show the same. Empty values go. */
export function choose(changes: Record<string, string | string[]>): void {
  const next = new URLSearchParams(query.peek());
  for (const [name, value] of Object.entries(changes)) {
    next.delete(name);
    for (const one of Array.isArray(value) ? value : [value]) if (one) next.append(name, one);
  }
  const text = next.toString();
  history.replaceState(null, "", path.peek() + (text && `?${text}`));
  place.value = { path: path.peek(), query: text && `?${text}` };
}
