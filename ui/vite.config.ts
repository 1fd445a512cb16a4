/// <reference types="vitest/config" />
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

export default defineConfig(({ mode }) => ({
  plugins: [svelte()],
  // The window loads its files from the app itself: relative addresses work in both places.
  base: "./",
  build: {
    target: "safari18",
    // Nothing inlined as data: the content security policy stays narrow.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 900,
  },
  resolve: mode === "test" ? { conditions: ["browser"] } : {},
  server: { port: 1420, strictPort: true, host: "127.0.0.1" },
  test: {
    environment: "jsdom",
    setupFiles: ["src/test/setup.ts"],
    include: ["src/**/*.test.ts"],
    restoreMocks: true,
    // One document for all files: several times faster, and each test cleans up after itself.
    isolate: false,
    testTimeout: 20_000,
  },
}));
