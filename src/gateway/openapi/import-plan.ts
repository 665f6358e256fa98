import { isOperationName } from '../../call/names.ts'
import type { JsonSchema } from '../../call/types.ts'
import { KithError } from '../../core/errors.ts'
import { SchemaImport, UnfitSchema } from './import-schema.ts'

type Json = { readonly [name: string]: unknown }

export interface ImportedParameter {
  /** As the input of the operation names it. */
  readonly key: string
  /** As the service names it. */
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  /** A list comes as the parameter several times, instead of once with commas. */
  readonly explode: boolean
}

/** How one operation of the file becomes a request, and which values it takes and gives. */
export interface ImportedOperation {
  /** `service/op`. */
  readonly name: string
  readonly method: string
  /** As in the file, with `{name}` in it. */
  readonly path: string
  readonly summary: string | undefined
  readonly parameters: readonly ImportedParameter[]
  /** The property of the input that is sent as the body; absent: none. */
  readonly body: string | undefined
  readonly input: JsonSchema
  readonly output: JsonSchema
}

export interface ImportPlan {
  readonly operations: readonly ImportedOperation[]
  /** What was left out, and why. */
  readonly skipped: readonly { readonly operation: string; readonly reason: string }[]
}

export const MAX_FILE_BYTES = 4_194_304
const MAX_OPERATIONS = 500
const MAX_PARAMETERS = 64
const METHODS = ['get', 'head', 'put', 'post', 'delete', 'patch'] as const
/** Headers that say whose a request is, how long it is or where it goes are not a caller's. */
const OWN_HEADERS =
  /^(accept|accept-encoding|authorization|connection|content-.*|cookie|expect|forwarded|host|keep-alive|origin|proxy-.*|te|trailer|transfer-encoding|upgrade|via|x-forwarded-.*)$/i
const HEADER_NAME = /^[A-Za-z0-9-]{1,64}$/

class Unfit extends Error {}

/**
 * Reads an OpenAPI 3.0 or 3.1 document. Its `servers` are not looked at: where requests go is the owner's configuration alone. An operation that cannot be carried
 * out faithfully (a required cookie, a body that is no JSON, a schema from elsewhere) is left out by name, not guessed at.
 * @param service the first part of the operations' names.
 * @throws KithError `OPENAPI_INVALID` for what is no such document.
 */
export function planImport(document: unknown, service: string): ImportPlan {
  if (!isJson(document) || typeof document.openapi !== 'string') throw invalid('It does not say which version of OpenAPI it is.')
  const version = /^3\.([01])\.\d{1,3}$/.exec(document.openapi)
  if (version === null) throw invalid('Only OpenAPI 3.0 and 3.1 are read.')
  const { paths } = document
  if (!isJson(paths)) throw invalid('It has no paths.')
  const reader = new Reader(document, service, version[1] === '0')
  for (const [path, item] of Object.entries(paths)) if (path.startsWith('/')) reader.item(path, item)
  return reader.plan
}

class Reader {
  readonly #components: Json
  readonly #service: string
  readonly #old: boolean
  readonly #operations: Map<string, ImportedOperation> = new Map()
  readonly #skipped: { readonly operation: string; readonly reason: string }[] = []

  constructor(document: Json, service: string, old: boolean) {
    this.#components = isJson(document.components) ? document.components : {}
    this.#service = service
    this.#old = old
  }

  get plan(): ImportPlan {
    return { operations: [...this.#operations.values()], skipped: this.#skipped }
  }

  item(path: string, item: unknown): void {
    if (!isJson(item)) return
    for (const method of METHODS) {
      const operation = item[method]
      if (!isJson(operation)) continue
      if (this.#operations.size + this.#skipped.length >= MAX_OPERATIONS) throw invalid(`It has more than ${MAX_OPERATIONS} operations.`)
      const label = `${method.toUpperCase()} ${path}`.slice(0, 200)
      try {
        const read = this.#operation(path, method, operation, item.parameters)
        if (this.#operations.has(read.name)) throw new Unfit('another has the same name')
        this.#operations.set(read.name, read)
      } catch (error) {
        if (!(error instanceof Unfit || error instanceof UnfitSchema)) throw error
        this.#skipped.push({ operation: label, reason: error.message })
      }
    }
  }

  #operation(path: string, method: string, operation: Json, shared: unknown): ImportedOperation {
    const name = `${this.#service}/${operationName(operation.operationId, method, path)}`
    if (!isOperationName(name)) throw new Unfit('it has no id that can be a name')
    const schemas = new SchemaImport(this.#components.schemas, this.#old)
    const properties: Record<string, JsonSchema> = {}
    const required: string[] = []
    const body = this.#body(operation.requestBody, schemas)
    if (body !== undefined) {
      properties.body = body.schema
      if (body.required) required.push('body')
    }
    const parameters: ImportedParameter[] = []
    for (const parameter of this.#parameters(shared, operation.parameters)) {
      const read = this.#parameter(parameter, properties)
      if (read === undefined) continue
      parameters.push(read)
      properties[read.key] = schemas.take(parameter.schema, 1)
      if (parameter.required === true || read.in === 'path') required.push(read.key)
    }
    const places = [...path.matchAll(/\{([^{}]*)\}/g)].map(([, place]) => place)
    if (!places.every((place) => parameters.some((parameter) => parameter.in === 'path' && parameter.name === place)))
      throw new Unfit('a part of the path has no parameter')
    if (/[?#\s]|\/\.{1,2}(\/|$)/.test(path)) throw new Unfit('the path is none')
    const input = { type: 'object', properties, required, additionalProperties: false, ...schemas.definitions() }
    const summary = typeof operation.summary === 'string' ? operation.summary : typeof operation.description === 'string' ? operation.description : undefined
    return {
      name,
      method: method.toUpperCase(),
      path,
      summary: summary?.replaceAll(/\s+/g, ' ').slice(0, 300),
      parameters,
      body: body === undefined ? undefined : 'body',
      input,
      output: method === 'head' ? { type: 'null' } : this.#output(operation.responses),
    }
  }

  /** Those of the operation stand before those of its path. */
  #parameters(shared: unknown, own: unknown): readonly Json[] {
    const found = new Map<string, Json>()
    for (const list of [shared, own]) {
      for (const entry of Array.isArray(list) ? list : []) {
        const parameter = this.#resolve(entry, 'parameters')
        if (typeof parameter.name !== 'string' || typeof parameter.in !== 'string') throw new Unfit('a parameter has no name')
        found.set(`${parameter.in} ${parameter.name}`, parameter)
      }
    }
    if (found.size > MAX_PARAMETERS) throw new Unfit('it has too many parameters')
    return [...found.values()]
  }

  /** `undefined`: one that may be left out, and is. */
  #parameter(parameter: Json, taken: Json): ImportedParameter | undefined {
    const name = parameter.name as string
    const place = parameter.in
    const usual =
      (place === 'query' && (parameter.style ?? 'form') === 'form') || ((place === 'path' || place === 'header') && (parameter.style ?? 'simple') === 'simple')
    const fit = usual && parameter.content === undefined && name !== '__proto__' && (place !== 'header' || (HEADER_NAME.test(name) && !OWN_HEADERS.test(name)))
    if (!fit) {
      if (parameter.required === true && !(place === 'header' && OWN_HEADERS.test(name))) throw new Unfit(`the parameter ${name.slice(0, 64)} cannot be sent`)
      return undefined
    }
    const key = Object.hasOwn(taken, name) ? `${place}_${name}` : name
    if (Object.hasOwn(taken, key)) throw new Unfit('two parameters have one name')
    return { key, name, in: place as ImportedParameter['in'], explode: place === 'query' && parameter.explode !== false }
  }

  #body(given: unknown, schemas: SchemaImport): { readonly schema: JsonSchema; readonly required: boolean } | undefined {
    if (given === undefined) return undefined
    const body = this.#resolve(given, 'requestBodies')
    const media = jsonMedia(body.content)
    if (media !== undefined) return { schema: schemas.take(media.schema, 1), required: body.required === true }
    if (body.required === true) throw new Unfit('its body is no JSON')
    return undefined
  }

  /** What any answer of success may be: one of several, where there are several. */
  #output(responses: unknown): JsonSchema {
    const schemas = new SchemaImport(this.#components.schemas, this.#old)
    const found: JsonSchema[] = []
    for (const [status, given] of isJson(responses) ? Object.entries(responses) : []) {
      if (!/^2(\d\d|XX)$/.test(status)) continue
      const response = this.#resolve(given, 'responses')
      if (!isJson(response.content) || Object.keys(response.content).length === 0) found.push({ type: 'null' })
      else {
        const media = jsonMedia(response.content)
        found.push(media === undefined ? { type: 'string' } : schemas.take(media.schema, 1))
      }
    }
    const [first = true, ...more] = found
    if (more.length > 0) return { anyOf: found, ...schemas.definitions() }
    return typeof first === 'boolean' ? first : { ...first, ...schemas.definitions() }
  }

  /** An entry, or what it refers to among the components: one step. */
  #resolve(entry: unknown, kind: string): Json {
    if (!isJson(entry)) throw new Unfit(`one of its ${kind} is none`)
    if (typeof entry.$ref !== 'string') return entry
    const prefix = `#/components/${kind}/`
    const known = this.#components[kind]
    const name = entry.$ref.startsWith(prefix) ? entry.$ref.slice(prefix.length) : ''
    const found = isJson(known) && Object.hasOwn(known, name) ? known[name] : undefined
    if (!isJson(found) || '$ref' in found) throw new Unfit('a reference leads nowhere')
    return found
  }
}

function jsonMedia(content: unknown): Json | undefined {
  if (!isJson(content)) return undefined
  const found = Object.entries(content).find(([type]) => /^application\/([a-z0-9.-]+\+)?json\s*(;|$)/i.test(type))?.[1]
  return isJson(found) ? found : undefined
}

/** `listPets`, or `get_pets_id` where the file gives no id. */
function operationName(id: unknown, method: string, path: string): string {
  const text = typeof id === 'string' && id !== '' ? id : `${method}${path.replaceAll(/[{}]/g, '')}`
  const plain = text
    .replaceAll(/[^A-Za-z0-9_.-]+/g, '_')
    .replace(/^[^A-Za-z]+/, '')
    .replace(/_+$/, '')
  return plain.slice(0, 64)
}

function invalid(reason: string): KithError {
  return new KithError('OPENAPI_INVALID', `This is no OpenAPI description that can be used: ${reason}`, { details: { reason } })
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
