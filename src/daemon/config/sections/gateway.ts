import { z } from 'zod'
import { type ConfiguredOpenApi, type ConfiguredTools, loopbackSchema, openapiSchema, socketSchema, toolsSchema } from '../../gateway/config.ts'
import { type Section, setting } from '../setting.ts'
import { whole } from '../values.ts'

/** The doors for HTTP, tools and raw framing, and services of others behind operations. */
export interface GatewaySettings {
  readonly 'gateway.listen': string
  readonly 'gateway.hosts': readonly string[]
  readonly 'gateway.max_body_bytes': number
  readonly 'gateway.raw_listen': string
  readonly 'gateway.raw_socket': string
  readonly openapi: readonly ConfiguredOpenApi[]
  readonly mcp: readonly ConfiguredTools[]
}

export const GATEWAY: Section<GatewaySettings> = {
  'gateway.listen': setting({
    schema: loopbackSchema,
    fallback: '',
    dynamic: false,
    about: 'Address of this machine where HTTP answers calls: /v1/SERVICE/OP, /v1/schema (OpenAPI), /mcp. Empty: none.',
  }),
  'gateway.hosts': setting({
    schema: z
      .array(z.string().regex(/^[a-z0-9.-]{1,253}$/, 'expected host names'), 'expected a list of host names')
      .max(16)
      .readonly(),
    fallback: [],
    dynamic: false,
    about: 'Names besides localhost under which it answers, such as that of a proxy in front of it.',
  }),
  'gateway.max_body_bytes': setting({
    schema: whole(1_024, 64 * 2 ** 20),
    fallback: 10 * 2 ** 20,
    dynamic: false,
    about: 'The largest body of a request that it takes.',
  }),
  'gateway.raw_listen': setting({
    schema: loopbackSchema,
    fallback: '',
    dynamic: false,
    about: 'Address of this machine where calls are answered by raw framing (4 bytes of length, JSON), a token first. Empty: none.',
  }),
  'gateway.raw_socket': setting({
    schema: socketSchema,
    fallback: '',
    dynamic: false,
    about: 'Path of a socket for the same, which only this user can open. Empty: none.',
  }),
  openapi: setting({
    schema: openapiSchema,
    fallback: [],
    dynamic: true,
    about: 'Services of others as operations, a table each: [openapi.NAME] with file (OpenAPI 3.0 or 3.1, JSON) and url, credential, access.',
    show: (entries) => JSON.stringify(entries.map(({ name }) => name)),
  }),
  mcp: setting({
    schema: toolsSchema,
    fallback: [],
    dynamic: true,
    about: 'Tools of others as operations, a table each: [mcp.NAME] with command, args, env or url, credential, and access.',
    show: (entries) => JSON.stringify(entries.map(({ name }) => name)),
  }),
}
