import { createRequire } from 'node:module';
const { resolve } = createRequire(import.meta.url);

export default {
  build: { target: 'esnext', chunkSizeWarningLimit: 10000 },
  worker: { format: 'es' },
  // vtk.js brings a package that asks for these two of node.
  resolve: { alias: { events: resolve('events/'), url: resolve('url/') } },
  logLevel: 'error',
};
