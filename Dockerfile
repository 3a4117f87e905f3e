# Larder in a container. Nothing in it depends on the processor: it builds on arm64 as on amd64.

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# No package's own scripts: the only one that has any brings a Node, and the base has one.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY tools tools
COPY src src
RUN npm run build && npm prune --ignore-scripts --omit=dev

FROM node:24-bookworm-slim
ENV NODE_ENV=production MIRROR_STORAGE_DIR=/data MALLOC_ARENA_MAX=1
WORKDIR /app
COPY package.json LICENSE ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
# The annotated defaults, to be copied out, changed, and mounted back at the same place.
COPY mirror.yml mirror.schema.json /etc/larder/
# A new volume takes over the owner of the folder that it is mounted on.
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 5000
# The image has no curl. Set MIRROR_URL where it listens elsewhere than on port 5000, or speaks TLS.
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s \
  CMD ["node", "--eval", "fetch((process.env.MIRROR_URL || 'http://127.0.0.1:5000') + '/healthz').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/dist/main.js"]
