import svelte from "eslint-plugin-svelte";
import globals from "globals";
import tseslint from "typescript-eslint";
import svelteConfig from "./svelte.config.js";

export default tseslint.config(
    { ignores: ["dist/", "node_modules/", "src/lib/bindings/"] },
    ...tseslint.configs.strictTypeChecked,
    ...svelte.configs.recommended,
    {
        languageOptions: {
            globals: globals.browser,
            parserOptions: { projectService: true, extraFileExtensions: [".svelte"] },
        },
        rules: {
            "@typescript-eslint/no-explicit-any": "error",
            "@typescript-eslint/no-floating-promises": "error",
            "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
            "@typescript-eslint/no-confusing-void-expression": "off",
            // `method(): void` in the contract's list of commands is what it is called for.
            "@typescript-eslint/no-invalid-void-type": "off",
        },
    },
    {
        files: ["**/*.svelte", "**/*.svelte.ts"],
        languageOptions: { parserOptions: { parser: tseslint.parser, svelteConfig } },
        rules: {
            // Props are not seen through by the type rules in templates.
            "@typescript-eslint/no-unnecessary-condition": "off",
            "svelte/prefer-svelte-reactivity": "off",
        },
    },
    { files: ["*.js"], ...tseslint.configs.disableTypeChecked },
);
