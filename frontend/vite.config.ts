import tailwindcss from '@tailwindcss/vite';
import react from '@vitejs/plugin-react';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';
import { sourcesFingerprint } from './dev/sources';

// The backend of `npm run dev`: the mock by default, or a running platform
// (BACKEND=http://127.0.0.1:8000 BACKEND_HOST=acme.localhost:8000).
const backend = process.env.BACKEND ?? 'http://127.0.0.1:5174';
const backendHost = process.env.BACKEND_HOST ?? 'acme.localhost:5174';

// The platform accepts a socket only from the tenant's own origin, so the proxy speaks as that origin.
const upstream = {
  target: backend,
  ws: true,
  headers: { host: backendHost, origin: `http://${backendHost}` },
};

/** Every browser that runs the page reads woff2: KaTeX's other two kinds of each font are not shipped. */
function onlyWoff2(): Plugin {
  return {
    name: 'only-woff2',
    enforce: 'pre',
    transform(code, id) {
      if (!/katex.*\.css$/.test(id)) return undefined;
      return code.replace(/,url\([^)]+\.(?:woff|ttf)\) format\("[a-z]+"\)/g, '');
    },
  };
}

/** Serves the development shell (index.html) for /chat/ and /chat/<id>/, as the Django template does. */
function chatRoutes(): Plugin {
  return {
    name: 'chat-routes',
    configureServer(server) {
      server.middlewares.use((request, _response, next) => {
        if (request.url === '/' || request.url?.startsWith('/chat/')) request.url = '/index.html';
        next();
      });
    },
  };
}

export default defineConfig(({ command }) => ({
  base: command === 'build' ? '/static/chat/' : '/',
  plugins: [onlyWoff2(), react(), tailwindcss(), chatRoutes(), sourcesFingerprint('../static/chat')],
  build: {
    outDir: '../static/chat',
    emptyOutDir: true,
    // Not the default `.vite/manifest.json`: Django's collectstatic skips names that start with a dot.
    manifest: 'manifest.json',
    // What is bundled may be handed on only with its authors' notices.
    license: { fileName: 'licenses.md' },
    sourcemap: false,
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
    rollupOptions: {
      input: 'src/main.tsx',
      // One script and one sheet, and what formulas need, which imports nothing of the page: a chunk that did would
      // import the entry by its unhashed name once a static files storage renames it, and the page would run twice.
      output: {
        entryFileNames: 'assets/chat-[hash].js',
        chunkFileNames: 'assets/[name]-[hash].js',
        assetFileNames: 'assets/chat-[hash][extname]',
      },
    },
  },
  server: {
    host: '127.0.0.1',
    port: 5173,
    strictPort: true,
    proxy: {
      '/api': upstream,
      '/ws': upstream,
      '/login': upstream,
      '/logout': upstream,
      '/i18n': upstream,
    },
  },
  test: {
    environment: 'jsdom',
    include: ['tests/**/*.test.{ts,tsx}'],
    restoreMocks: true,
  },
}));
