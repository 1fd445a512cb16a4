import { describe, expect, it } from "vitest";
import { levelFor, parent, tileKey, tileRect, tilesIn, TileStore, type TileId } from "./tiles";

/** A source whose answers the test gives. */
function source() {
  const asked: { id: TileId; resolve: (picture: string) => void; reject: () => void; cancelled: boolean }[] =
    [];
  const fetch = (id: TileId) => {
    const request: (typeof asked)[number] = { id, resolve: () => {}, reject: () => {}, cancelled: false };
    const picture = new Promise<string>((resolve, reject) => {
      request.resolve = resolve;
      request.reject = () => reject(new Error("gone"));
    });
    asked.push(request);
    return { picture, cancel: () => void (request.cancelled = true) };
  };
  return { asked, fetch };
}
const settle = (): Promise<void> => new Promise((done) => setTimeout(done, 0));
const size = { width: 1024, height: 1024 };
const view = { x: 0, y: 0, zoom: 1 };
const big = { x: -10_000, y: -10_000, width: 20_000, height: 20_000 };

describe("the pyramid", () => {
  it("takes the coarsest level that still has a pixel for each of the screen's", () => {
    expect(levelFor(1, 1)).toBe(0);
    expect(levelFor(4, 1)).toBe(0);
    expect(levelFor(0.5, 1)).toBe(1);
    expect(levelFor(0.51, 1)).toBe(0);
    expect(levelFor(0.5, 2)).toBe(0);
    expect(levelFor(0.25, 1)).toBe(2);
    expect(levelFor(1e-9, 1)).toBe(8);
  });

  it("covers a rectangle without gap or overlap, also left of and above zero", () => {
    const tiles = tilesIn({ x: -100, y: -600, width: 700, height: 700 }, 0);
    expect(tiles.map(tileKey).sort()).toEqual(
      ["0/-1/-1", "0/-1/-2", "0/-1/0", "0/0/-1", "0/0/-2", "0/0/0", "0/1/-1", "0/1/-2", "0/1/0"].sort(),
    );
    expect(tileRect({ level: 2, x: -1, y: 1 })).toEqual({ x: -2048, y: 2048, width: 2048, height: 2048 });
  });

  it("asks for the middle first", () => {
    expect(tilesIn({ x: 0, y: 0, width: 5 * 512, height: 5 * 512 }, 0)[0]).toEqual({ level: 0, x: 2, y: 2 });
  });

  it("finds the coarser tile, also left of zero", () => {
    expect(parent({ level: 0, x: -1, y: 3 })).toEqual({ level: 1, x: -1, y: 1 });
  });
});

describe("the store of tiles", () => {
  it("keeps few requests in flight and fetches all in the end", async () => {
    const { asked, fetch } = source();
    const store = new TileStore<string>(fetch, () => undefined, { inFlight: 3 });
    store.setBounds(big);
    store.look(view, { width: 2048, height: 1024 }, 1);
    expect(asked).toHaveLength(3);
    for (let index = 0; index < 8; index++) {
      asked[index]!.resolve(`picture ${index}`);
      await settle();
      expect(asked.filter((one, at) => at > index).length).toBeLessThanOrEqual(3);
    }
    expect(asked).toHaveLength(8);
    expect(store.settled).toBe(true);
    expect(store.draw(view, { width: 2048, height: 1024 }, 1)).toHaveLength(8);
  });

  it("asks for nothing where nothing is painted", () => {
    const { asked, fetch } = source();
    const store = new TileStore<string>(fetch, () => undefined);
    store.look(view, size, 1);
    expect(asked).toHaveLength(0);
    store.setBounds({ x: 10, y: 10, width: 20, height: 20 });
    store.look(view, size, 1);
    expect(asked.map((one) => tileKey(one.id))).toEqual(["0/0/0"]);
  });

  it("fetches again only what a change touched, and shows the old until the new is there", async () => {
    const { asked, fetch } = source();
    const store = new TileStore<string>(fetch, () => undefined);
    store.setBounds(big);
    store.look(view, size, 1);
    for (const one of asked) one.resolve(`old ${tileKey(one.id)}`);
    await settle();
    store.invalidate([{ x: 520, y: 520, width: 10, height: 10 }]);
    expect(asked.slice(4).map((one) => tileKey(one.id))).toEqual(["0/1/1"]);
    expect(store.settled).toBe(false);
    expect(store.draw(view, size, 1).map((one) => one.picture)).toContain("old 0/1/1");
    asked[4]!.resolve("new 0/1/1");
    await settle();
    const shown = store.draw(view, size, 1).map((one) => one.picture);
    expect(shown).toContain("new 0/1/1");
    expect(shown).not.toContain("old 0/1/1");
    expect(shown).toHaveLength(4);
    expect(asked).toHaveLength(5);
  });

  it("fetches once more when the canvas changed while a picture was on its way", async () => {
    const { asked, fetch } = source();
    const store = new TileStore<string>(fetch, () => undefined);
    store.setBounds(big);
    store.look(view, { width: 512, height: 512 }, 1);
    store.invalidate(null);
    asked[0]!.resolve("before the change");
    await settle();
    expect(asked).toHaveLength(2);
    asked[1]!.resolve("after it");
    await settle();
    expect(store.draw(view, { width: 512, height: 512 }, 1)[0]?.picture).toBe("after it");
    expect(store.settled).toBe(true);
  });

  it("shows the part of a coarser tile until the finer is there", async () => {
    const { asked, fetch } = source();
    const store = new TileStore<string>(fetch, () => undefined);
    store.setBounds(big);
    const far = { x: 0, y: 0, zoom: 0.5 };
    store.look(far, { width: 512, height: 512 }, 1);
    asked[0]!.resolve("coarse");
    await settle();
    store.look(view, { width: 512, height: 512 }, 1);
    expect(store.draw(view, { width: 512, height: 512 }, 1)).toEqual([
      {
        picture: "coarse",
        rect: { x: 0, y: 0, width: 512, height: 512 },
        source: { x: 0, y: 0, width: 256, height: 256 },
      },
    ]);
  });

  it("shows the finer tiles until the coarser is there", async () => {
    const { asked, fetch } = source();
    const store = new TileStore<string>(fetch, () => undefined);
    store.setBounds(big);
    store.look(view, size, 1);
    for (const one of asked) one.resolve(`fine ${tileKey(one.id)}`);
    await settle();
    const far = { x: 0, y: 0, zoom: 0.5 };
    store.look(far, { width: 512, height: 512 }, 1);
    expect(store.draw(far, { width: 512, height: 512 }, 1)).toHaveLength(4);
    asked[4]!.resolve("coarse");
    await settle();
    expect(store.draw(far, { width: 512, height: 512 }, 1).map((one) => one.picture)).toEqual(["coarse"]);
  });

  it("gives up what scrolled away, and a failing tile after three tries", async () => {
    const { asked, fetch } = source();
    const store = new TileStore<string>(fetch, () => undefined);
    store.setBounds(big);
    store.look(view, { width: 512, height: 512 }, 1);
    store.look({ x: 5000, y: 5000, zoom: 1 }, { width: 10, height: 10 }, 1);
    expect(asked[0]!.cancelled).toBe(true);
    for (let attempt = 1; attempt <= 3; attempt++) {
      asked.at(-1)!.reject();
      await settle();
    }
    expect(asked).toHaveLength(4);
    expect(store.settled).toBe(true);
    store.invalidate(null);
    expect(asked).toHaveLength(5);
  });

  it("forgets the tiles that were not looked at for longest", async () => {
    const { asked, fetch } = source();
    const store = new TileStore<string>(fetch, () => undefined, { limit: 4 });
    store.setBounds(big);
    for (let step = 0; step < 8; step++) {
      store.look({ x: step * 512, y: 0, zoom: 1 }, { width: 512, height: 512 }, 1);
      asked.at(-1)!.resolve(`picture ${step}`);
      await settle();
    }
    expect(store.size).toBeLessThanOrEqual(4);
    expect(store.draw({ x: 7 * 512, y: 0, zoom: 1 }, { width: 512, height: 512 }, 1)).toHaveLength(1);
  });
});
