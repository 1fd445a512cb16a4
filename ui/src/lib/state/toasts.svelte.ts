export type ToastAction = { label: string; run: () => void };
export type Toast = { id: number; tone: "info" | "error"; text: string; action: ToastAction | null };

/** Short messages in the corner; they go by themselves, errors later than others. */
export class Toasts {
  list = $state.raw<Toast[]>([]);
  #next = 1;
  readonly #timers = new Map<number, ReturnType<typeof setTimeout>>();

  show(text: string, action: ToastAction | null = null): void {
    this.#add("info", text, action);
  }

  error(text: string): void {
    this.#add("error", text, null);
  }

  dismiss(id: number): void {
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
    this.list = this.list.filter((toast) => toast.id !== id);
  }

  /** While the pointer or the focus is on it, a message stays. */
  hold(id: number): void {
    clearTimeout(this.#timers.get(id));
  }

  release(id: number): void {
    const toast = this.list.find((one) => one.id === id);
    if (toast)
      this.#timers.set(
        id,
        setTimeout(() => this.dismiss(id), 4000),
      );
  }

  #add(tone: Toast["tone"], text: string, action: ToastAction | null): void {
    const same = this.list.find((toast) => toast.text === text);
    if (same) this.dismiss(same.id);
    const id = this.#next++;
    this.list = [...this.list, { id, tone, text, action }].slice(-4);
    this.#timers.set(
      id,
      setTimeout(() => this.dismiss(id), tone === "error" || action ? 9000 : 5000),
    );
  }
}
