import { fireEvent, render, screen, waitFor, within } from "@testing-library/svelte";
import userEvent from "@testing-library/user-event";
import { beforeEach, describe, expect, it } from "vitest";
import Root from "./App.svelte";
import { MockBackend, type MockOptions } from "./lib/backend/mock";
import { App } from "./lib/state/app.svelte";

// The whole window on the in-memory stand-in: what a person does, and what the shell is asked.

async function open(options: MockOptions = {}): Promise<{ app: App; backend: MockBackend }> {
  const backend = new MockBackend({ delay: 0, demo: true, ...options });
  const app = new App(backend);
  render(Root, { app });
  await waitFor(() => expect(screen.getByTestId("app")).toHaveAttribute("data-ready", "ready"));
  return { app, backend };
}
const called = (backend: MockBackend, name: string): unknown[] =>
  backend.calls.filter((call) => call.name === name).map((call) => call.args);

const user = userEvent.setup();

/** Chooses from a list by keyboard. */
async function choose(list: string, option: RegExp): Promise<void> {
  (await screen.findByTestId(list)).focus();
  await user.keyboard("{Enter}");
  for (let tries = 0; tries < 20; tries++) {
    const marked = document.querySelector("[data-select-item][data-highlighted]");
    if (marked && option.test(marked.textContent)) break;
    await user.keyboard("{ArrowDown}");
  }
  await user.keyboard("{Enter}");
}

beforeEach(() => {
  localStorage.clear();
});

describe("the start page", () => {
  it("lists recent projects, marks missing ones, and forgets on request", async () => {
    const { backend } = await open({ demo: false });
    const cards = screen.getAllByTestId("recent");
    expect(cards).toHaveLength(4);
    expect(cards[3]).toBeDisabled();
    expect(screen.getByText("The file is not there any more")).toBeInTheDocument();
    await user.click(screen.getByRole("button", { name: "Take Old storm off this list" }));
    await waitFor(() => expect(screen.getAllByTestId("recent")).toHaveLength(3));
    expect(called(backend, "forget_recent")).toEqual([{ path: "/home/ada/Pictures/Old storm.outframe" }]);
  });

  it("makes a new project, with an empty stage that says what to do", async () => {
    await open({ demo: false });
    await user.click(screen.getByTestId("new"));
    expect(await screen.findByTestId("stage-empty")).toBeInTheDocument();
    expect(screen.getByTestId("title")).toHaveTextContent("Untitled 1");
    expect(screen.getByTestId("generate")).toBeDisabled();
  });

  it("begins a project with a dropped picture and offers its prompt", async () => {
    const { app, backend } = await open({ demo: false });
    backend.drop({ kind: "over", point: { x: 5, y: 5 }, paths: ["/tmp/a.png"] });
    expect(await screen.findByTestId("drop-hint")).toBeInTheDocument();
    backend.drop({ kind: "drop", point: { x: 5, y: 5 }, paths: ["/tmp/a.png"] });
    await user.click(await screen.findByRole("button", { name: "Use its prompt" }));
    expect(app.recipe.prompt).toBe("a quiet valley, morning haze, film grain");
    expect(screen.getAllByTestId("layer")).toHaveLength(1);
    expect(screen.queryByTestId("drop-hint")).toBeNull();
  });

  it("opens a dropped project", async () => {
    const { backend } = await open({ demo: false });
    backend.drop({ kind: "drop", point: { x: 5, y: 5 }, paths: ["/home/ada/x.OUTFRAME"] });
    expect(await screen.findByTestId("title")).toHaveTextContent("Ridge at dawn");
    expect(called(backend, "open_project")).toEqual([{ path: "/home/ada/x.OUTFRAME" }]);
  });
});

describe("generating", () => {
  it("asks for what the panel says and shows the takes", async () => {
    const { app, backend } = await open();
    const prompt = screen.getByTestId("prompt");
    await user.clear(prompt);
    await user.type(prompt, "a harbour at dusk");
    const takes = screen.getByTestId("takes");
    await user.clear(takes);
    await user.type(takes, "2{Enter}");
    prompt.focus();
    await user.keyboard("{Control>}{Enter}{/Control}");
    await waitFor(() => expect(called(backend, "generate")).toHaveLength(1));
    expect(called(backend, "generate")[0]).toMatchObject({
      input: { prompt: "a harbour at dusk", takes: 2, settings: { steps: null, negative: "" } },
    });
    await waitFor(() => expect(app.project?.generations).toHaveLength(2));
    const list = await screen.findByTestId("takes-list");
    expect(within(list).getAllByRole("radio")).toHaveLength(2);
  });

  it("chooses another take, and undoes that", async () => {
    const { app } = await open();
    const second = screen.getByRole("radio", { name: /^Take 2/ });
    await user.click(second);
    await waitFor(() => expect(second).toBeChecked());
    screen.getByTestId("stage").focus();
    await user.keyboard("{Control>}z{/Control}");
    await waitFor(() => expect(screen.getByRole("radio", { name: /^Take 1/ })).toBeChecked());
    expect(app.project?.redo).toBe("Choose a take");
  });

  it("cancels from the strip and says so in the queue", async () => {
    await open({ delay: 40 });
    await user.click(screen.getByTestId("generate"));
    await user.click(await screen.findByTestId("cancel"));
    await user.click(screen.getByTestId("queue"));
    await waitFor(() => expect(screen.getByTestId("job")).toHaveAttribute("data-state", "cancelled"));
  });

  it("shows why a command failed, and goes on", async () => {
    const { backend } = await open();
    backend.failNext = { name: "generate", message: "The model's folder is gone. Choose another model." };
    await user.click(screen.getByTestId("generate"));
    expect(await screen.findByTestId("toast")).toHaveTextContent("The model's folder is gone.");
    await user.click(screen.getByTestId("generate"));
    await waitFor(() => expect(called(backend, "generate")).toHaveLength(2));
  });
});

describe("extending", () => {
  it("sets the amount with arrow keys, plans it, and paints with Enter", async () => {
    const { app, backend } = await open();
    const arrow = screen.getByTestId("extend-right");
    arrow.focus();
    expect(arrow).toHaveAccessibleName("Extend right: 384 pixels");
    await user.keyboard("{ArrowLeft}{Shift>}{ArrowLeft}{/Shift}");
    expect(app.extending.amounts.right).toBe(312);
    await waitFor(() =>
      expect(screen.getByTestId("extend-hint")).toHaveTextContent("+312 px · 1 fill · ~2 s"),
    );
    await user.keyboard("{Enter}");
    await waitFor(() => expect(app.frame?.rect.width).toBe(768 + 312));
    expect(called(backend, "extend")[0]).toMatchObject({
      input: { left: 0, right: 312, up: 0, down: 0, prompt: null, takes: 1 },
    });
    expect(app.extending.set).toBe(false);
  });

  it("paints half of the side with one click, Escape resets", async () => {
    const { app, backend } = await open();
    const arrow = screen.getByTestId("extend-up");
    arrow.focus();
    await user.keyboard("{ArrowUp}");
    expect(app.extending.amounts.up).toBe(264);
    await user.keyboard("{Escape}");
    expect(app.extending.set).toBe(false);
    await user.click(arrow);
    await waitFor(() => expect(called(backend, "extend")[0]).toMatchObject({ input: { up: 256 } }));
  });

  it("takes its amount from a drag", async () => {
    const { app, backend } = await open();
    app.stage.view = { x: 0, y: 0, zoom: 0.5 };
    const arrow = screen.getByTestId("extend-left");
    const at = (x: number) => ({ clientX: x, clientY: 100, button: 0, pointerId: 1 });
    await fireEvent.pointerDown(arrow, at(300));
    await fireEvent.pointerMove(arrow, at(270));
    expect(app.extending.amounts.left).toBe(64);
    await fireEvent.pointerUp(arrow, at(270));
    await fireEvent.click(arrow);
    expect(called(backend, "extend")).toHaveLength(0);
    await user.click(screen.getByTestId("extend-paint"));
    await waitFor(() => expect(called(backend, "extend")[0]).toMatchObject({ input: { left: 64 } }));
  });

  it("zooms out and reframes", async () => {
    const { app, backend } = await open();
    await user.click(screen.getByTestId("zoom-out-2"));
    await waitFor(() => expect(app.frame?.rect).toMatchObject({ width: 1536, height: 1024 }));
    await user.click(screen.getByTestId("reframe"));
    await user.click(await screen.findByTestId("reframe-16-9"));
    await waitFor(() =>
      expect(called(backend, "reframe")[0]).toMatchObject({ input: { aspectWidth: 16, aspectHeight: 9 } }),
    );
  });
});

describe("regions", () => {
  it("varies what was brushed, with prompt and strength, and clears it", async () => {
    const { app, backend } = await open();
    await user.keyboard("b");
    expect(app.tool).toBe("brush");
    const stage = screen.getByTestId("stage");
    app.stage.view = { x: 0, y: 0, zoom: 1 };
    const at = (x: number, y: number) => ({ clientX: x, clientY: y, button: 0, pointerId: 1 });
    await fireEvent.pointerDown(stage, at(100, 100));
    await fireEvent.pointerMove(stage, at(140, 100));
    await fireEvent.pointerUp(stage, at(140, 100));
    const prompt = await screen.findByTestId("region-prompt");
    await user.type(prompt, "a red boat{Enter}");
    await waitFor(() => expect(called(backend, "vary")).toHaveLength(1));
    expect(called(backend, "vary")[0]).toMatchObject({
      input: {
        prompt: "a red boat",
        strength: 0.75,
        region: {
          shapes: [
            {
              kind: "stroke",
              radius: 32,
              subtract: false,
              points: [
                { x: 100, y: 100 },
                { x: 140, y: 100 },
              ],
            },
          ],
        },
      },
    });
    await waitFor(() => expect(screen.queryByTestId("region-bar")).toBeNull());
  });

  it("clears with Escape and changes the brush with brackets", async () => {
    const { app } = await open();
    await user.keyboard("r");
    app.region.shapes = [{ kind: "rect", rect: { x: 0, y: 0, width: 50, height: 50 }, subtract: false }];
    expect(await screen.findByTestId("region-bar")).toBeInTheDocument();
    await user.keyboard("{Escape}");
    expect(app.region.empty).toBe(true);
    await user.keyboard("b{]}");
    expect(app.region.radius).toBe(38);
  });
});

describe("layers", () => {
  it("reorders by keyboard, hides, renames and deletes, each as one step", async () => {
    const { app, backend } = await open();
    const names = (): (string | undefined)[] => app.project?.layers.map((layer) => layer.name) ?? [];
    expect(names()).toEqual(["Sky", "Lake and ridge"]);
    const top = screen.getAllByTestId("layer")[0]!;
    await user.click(top);
    top.focus();
    await user.keyboard("{Alt>}{ArrowDown}{/Alt}");
    await waitFor(() => expect(names()).toEqual(["Lake and ridge", "Sky"]));
    await user.click(screen.getByRole("button", { name: "Hide Sky" }));
    expect(await screen.findByRole("button", { name: "Show Sky" })).toBeInTheDocument();
    await user.dblClick(screen.getAllByTestId("layer")[0]!);
    await user.keyboard("High sky{Enter}");
    await waitFor(() => expect(names()).toEqual(["Lake and ridge", "High sky"]));
    await user.click(screen.getByTestId("layer-delete"));
    await waitFor(() => expect(names()).toEqual(["Lake and ridge"]));
    expect(called(backend, "set_layer")).toHaveLength(2);
    await user.click(screen.getByTestId("undo"));
    await waitFor(() => expect(names()).toEqual(["Lake and ridge", "High sky"]));
  });

  it("moves the layer on the stage in one step", async () => {
    const { app, backend } = await open();
    await user.keyboard("v");
    app.stage.view = { x: 0, y: 0, zoom: 2 };
    const stage = screen.getByTestId("stage");
    const at = (x: number, y: number) => ({ clientX: x, clientY: y, button: 0, pointerId: 1 });
    await fireEvent.pointerDown(stage, at(100, 500));
    await fireEvent.pointerMove(stage, at(120, 490));
    await fireEvent.pointerMove(stage, at(140, 480));
    await fireEvent.pointerUp(stage, at(140, 480));
    await waitFor(() => expect(called(backend, "offset_layer")).toHaveLength(1));
    expect(called(backend, "offset_layer")[0]).toMatchObject({ dx: 20, dy: -10 });
  });
});

describe("Director", () => {
  async function direct(): Promise<{ app: App; backend: MockBackend }> {
    const opened = await open();
    await user.click(screen.getByTestId("mode-director"));
    await user.click(await screen.findByTestId("add-shot"));
    await screen.findByTestId("dial-truck");
    return opened;
  }

  it("turns dials by key, value and double click, each as one step", async () => {
    const { app, backend } = await direct();
    screen.getByTestId("dial-truck").focus();
    await user.keyboard("{Shift>}{ArrowUp}{ArrowUp}{/Shift}");
    await waitFor(() => expect(app.project?.shots[0]?.moves[0]?.end).toBeCloseTo(0.2));
    const zoom = screen.getByTestId("dial-zoom-value");
    await user.clear(zoom);
    await user.type(zoom, "5{Enter}");
    await waitFor(() => expect(app.project?.shots[0]?.moves[1]?.end).toBeCloseTo(2));
    expect(screen.getAllByTestId("move-bar")).toHaveLength(2);
    expect(screen.getByTestId("dial-zoom")).toHaveAttribute("aria-valuetext", "+5.0: 2.00×");
    await user.dblClick(screen.getByTestId("dial-truck"));
    await waitFor(() => expect(screen.getAllByTestId("move-bar")).toHaveLength(1));
    expect(called(backend, "set_shot")).toHaveLength(4);
  });

  it("previews while a dial is dragged and stores once at the end", async () => {
    const { app, backend } = await direct();
    const dial = screen.getByTestId("dial-pan");
    const at = (y: number) => ({ clientX: 10, clientY: y, button: 0, pointerId: 1 });
    await fireEvent.pointerDown(dial, at(200));
    await fireEvent.pointerMove(dial, at(180));
    await fireEvent.pointerMove(dial, at(150));
    await waitFor(() => expect(called(backend, "preview_shot").length).toBeGreaterThan(0));
    expect(called(backend, "set_shot")).toHaveLength(0);
    await fireEvent.pointerUp(dial, at(150));
    await waitFor(() => expect(app.project?.shots[0]?.moves[0]?.end).toBeCloseTo(22.5));
    expect(called(backend, "set_shot")).toHaveLength(1);
    await waitFor(() => expect(app.director.draft).toBeNull());
  });

  it("says what is missing and paints it", async () => {
    const { app, backend } = await direct();
    screen.getByTestId("dial-truck").focus();
    await user.keyboard("{Shift>}{ArrowUp}{ArrowUp}{/Shift}");
    const paint = await screen.findByTestId("cover", {}, { timeout: 3000 });
    expect(screen.getByTestId("coverage")).toHaveTextContent("This move lacks 17 % on the right");
    expect(paint).toHaveTextContent("Paint what is missing · 1 fill");
    await user.click(paint);
    await waitFor(() => expect(called(backend, "cover")).toHaveLength(1));
    await waitFor(
      () => expect(screen.getByTestId("coverage")).toHaveTextContent("All that the camera sees is painted"),
      { timeout: 3000 },
    );
    expect(app.project?.generations.at(-1)?.kind).toBe("fill");
  });

  it("edits a move in the inspector and removes it by key", async () => {
    const { app } = await direct();
    await user.click(screen.getByTestId("add-move"));
    await user.click(await screen.findByTestId("add-orbit"));
    const end = await screen.findByTestId("move-end");
    await user.clear(end);
    await user.type(end, "30{Enter}");
    await waitFor(() => expect(app.project?.shots[0]?.moves[0]).toMatchObject({ kind: "orbit", end: 30 }));
    const bar = screen.getByTestId("move-bar");
    bar.focus();
    await user.keyboard("{Alt>}{Shift>}{ArrowLeft}{/Shift}{/Alt}");
    await waitFor(() => expect(app.project?.shots[0]?.moves[0]?.to).toBe(85));
    screen.getByTestId("move-bar").focus();
    await user.keyboard("{Delete}");
    await waitFor(() => expect(app.project?.shots[0]?.moves).toEqual([]));
  });

  it("offers H.264 only where ffmpeg is, and writes the film", async () => {
    const { backend } = await direct();
    await user.click(screen.getByTestId("film"));
    expect(await screen.findByTestId("film-mp4-h264")).toBeDisabled();
    expect(screen.getByText("Needs ffmpeg, which was not found on this machine")).toBeInTheDocument();
    backend.nextSavePath = "/home/ada/film.mp4";
    await user.click(screen.getByTestId("film-write"));
    await waitFor(() =>
      expect(called(backend, "export_film")[0]).toMatchObject({
        input: { path: "/home/ada/film.mp4", format: "mp4-av1", quality: 80 },
      }),
    );
    await user.click(await screen.findByTestId("toast-action", {}, { timeout: 8000 }));
    expect(called(backend, "reveal")).toEqual([{ path: "/home/ada/film.mp4" }]);
  });
});

describe("the window", () => {
  it("answers the native menu", async () => {
    const { app, backend } = await open();
    backend.emit("menu", "director");
    await waitFor(() => expect(app.mode).toBe("director"));
    backend.emit("menu", "about");
    expect(await screen.findByTestId("about-dialog")).toHaveTextContent("llvmpipe");
  });

  it("exports with the chosen format and area", async () => {
    const { backend } = await open();
    await user.click(screen.getByTestId("export"));
    await user.click(await screen.findByTestId("format-jpg"));
    backend.nextSavePath = "/home/ada/out.jpg";
    await user.click(screen.getByTestId("export-save"));
    await waitFor(() =>
      expect(called(backend, "export_picture")[0]).toEqual({
        input: {
          path: "/home/ada/out.jpg",
          rect: { x: 0, y: 0, width: 768, height: 512 },
          scale: 1,
          withMetadata: true,
        },
      }),
    );
    await waitFor(() => expect(screen.queryByTestId("export-dialog")).toBeNull());
  });

  it("renames the project, and does nothing when the save dialog is dismissed", async () => {
    const { app, backend } = await open();
    await user.click(screen.getByTestId("title"));
    await user.keyboard("Morning ridge{Enter}");
    await waitFor(() => expect(app.project?.title).toBe("Morning ridge"));
    backend.nextSavePath = null;
    await app.saveAs();
    expect(called(backend, "save_project_as")).toEqual([]);
  });

  it("keeps the theme", async () => {
    await open();
    expect(document.documentElement.dataset.theme).toBe("dark");
    await user.click(screen.getByTestId("theme"));
    expect(document.documentElement.dataset.theme).toBe("light");
    expect(localStorage.getItem("outframe.theme")).toBe("light");
  });

  it("says so when it cannot start, and tries again", async () => {
    const backend = new MockBackend({ delay: 0 });
    backend.failNext = { name: "app_info", message: "The shell did not answer." };
    render(Root, { app: new App(backend) });
    expect(await screen.findByRole("alert")).toHaveTextContent("The shell did not answer.");
    await user.click(screen.getByRole("button", { name: "Try again" }));
    expect(await screen.findByTestId("start")).toBeInTheDocument();
  });
});

describe("what the model can do", () => {
  it("paints with LoRAs, another VAE and a style of the library", async () => {
    const { app, backend } = await open();
    await waitFor(() => expect(app.adapters).not.toBeNull());
    await user.click(screen.getByTestId("advanced"));
    await choose("lora-add", /ink-wash/);
    expect(await screen.findAllByTestId("lora")).toHaveLength(1);
    screen.getByTestId("lora-weight").focus();
    await user.keyboard("{ArrowLeft}{ArrowLeft}");
    await user.click(screen.getAllByTestId("trigger")[0] as HTMLElement);
    expect(app.recipe.prompt).toMatch(/, ink wash$/);
    await choose("vae", /soft/);
    await choose("style", /woodcut/);
    await user.click(screen.getByTestId("generate"));
    const [asked] = called(backend, "generate") as { input: { settings: Record<string, unknown> } }[];
    expect(asked?.input.settings).toMatchObject({
      style: "woodcut",
      tuning: { loras: [{ name: "ink-wash", weight: 0.9 }], vae: "soft", clipSkip: 0, guidanceRescale: 0 },
    });
    await user.click(screen.getByRole("button", { name: "Remove ink-wash" }));
    expect(screen.queryByTestId("lora")).toBeNull();
  });

  it("follows a picture by ControlNets, and shows what they see", async () => {
    const { app, backend } = await open();
    await waitFor(() => expect(app.adapters).not.toBeNull());
    await user.click(screen.getByTestId("advanced"));
    await choose("control-add", /canny/);
    // One that is named after edges begins with edges, of the picture as it is.
    const preview = await screen.findByTestId("control-preview");
    expect(preview).toHaveAttribute("alt", "The edges of: The picture as it is");
    expect(called(backend, "preview_control")).toEqual([{ picture: { kind: "frame" }, canny: [100, 200] }]);
    expect(screen.getByTestId("advanced")).toHaveTextContent("1 ControlNet");
    const low = screen.getByTestId("control-low");
    await user.clear(low);
    await user.type(low, "300{Enter}");
    expect(app.recipe.controls.list[0]?.canny).toEqual([300, 300]);
    screen.getByTestId("control-scale").focus();
    await user.keyboard("{ArrowLeft}{ArrowLeft}{ArrowLeft}{ArrowLeft}");
    const to = screen.getByTestId("control-to");
    await user.clear(to);
    await user.type(to, "60{Enter}");
    backend.nextOpenPaths = ["/home/ada/Pictures/sketch.png"];
    await user.click(screen.getByTestId("control-file"));
    await user.click(screen.getByTestId("control-edges"));
    expect(await screen.findByAltText("sketch.png")).toBeInTheDocument();
    await user.click(screen.getByTestId("generate"));
    const [asked] = called(backend, "generate") as { input: { settings: Record<string, unknown> } }[];
    expect(asked?.input.settings.controls).toEqual([
      {
        network: "canny-sd15",
        picture: { kind: "file", path: "/home/ada/Pictures/sketch.png" },
        scale: 0.8,
        start: 0,
        end: 0.6,
        canny: null,
      },
    ]);
    // What cannot be steered is not asked to be.
    await user.click(screen.getByTestId("picture-upscale"));
    await user.click(await screen.findByTestId("upscale-start"));
    expect(called(backend, "upscale")[0]).toMatchObject({ input: { settings: { controls: [] } } });
    await user.click(screen.getByTestId("control-remove"));
    expect(screen.queryByTestId("control")).toBeNull();
  });

  it("says what a ControlNet lacks, and where there is none", async () => {
    const { app, backend } = await open({ demo: false });
    await user.click(screen.getByTestId("new"));
    await user.click(screen.getByTestId("advanced"));
    await choose("control-add", /depth/);
    expect(await screen.findByTestId("control-waits")).toHaveTextContent("until a picture is chosen");
    expect(screen.getByTestId("control-frame")).toBeDisabled();
    expect(app.recipe.settings().controls).toEqual([]);
    backend.nextOpenPaths = ["/tmp/gone.png"];
    await user.click(screen.getByTestId("control-file"));
    expect(await screen.findByTestId("control-problem")).toHaveTextContent(
      "/tmp/gone.png is not there any more",
    );
    for (let more = 0; more < 5; more++) await choose("control-add", /depth/);
    expect(screen.getByTestId("control-add")).toBeDisabled();
    expect(screen.getByTestId("control-add")).toHaveTextContent("6 ControlNets: no more at once");
    backend.networks = false;
    await app.loadLibrary();
    await waitFor(() =>
      expect(screen.getByTestId("control-add")).toHaveTextContent("No ControlNet in the library"),
    );
    expect(screen.getAllByTestId("control-missing")).toHaveLength(6);
  });

  it("says that braces are filled in", async () => {
    await open();
    expect(screen.queryByTestId("template")).toBeNull();
    await fireEvent.input(screen.getByTestId("prompt"), { target: { value: "a {red,blue} barn" } });
    expect(await screen.findByTestId("template")).toBeInTheDocument();
  });

  it("upscales the picture, and a layer, as a job that can be undone", async () => {
    const { app, backend } = await open();
    await user.click(screen.getByTestId("picture-upscale"));
    await screen.findByTestId("upscale-dialog");
    await user.click(screen.getByTestId("upscale-4"));
    expect(screen.getByText("3072 × 2048 pixels")).toBeInTheDocument();
    await user.click(screen.getByTestId("upscale-creative"));
    await user.type(screen.getByTestId("upscale-prompt"), "a lake");
    await user.click(screen.getByTestId("upscale-start"));
    const [asked] = called(backend, "upscale");
    expect(asked).toMatchObject({
      input: { layer: null, factor: 4, creative: true, prompt: "a lake", strength: 0.3 },
    });
    await waitFor(() => expect(app.frame?.rect.width).toBe(3072));
    await user.click(screen.getByTestId("undo"));
    await waitFor(() => expect(app.frame?.rect.width).toBe(768));

    await user.click(screen.getAllByTestId("layer")[0] as HTMLElement);
    await user.click(await screen.findByTestId("layer-upscale"));
    await user.click(await screen.findByTestId("upscale-start"));
    expect(called(backend, "upscale").at(-1)).toMatchObject({
      input: { layer: app.selectedLayer, factor: 2, creative: false, prompt: null, strength: null },
    });
  });
});
