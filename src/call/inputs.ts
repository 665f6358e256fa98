import { KithError } from '../core/errors.ts'
import type { AnyOperation } from './define.ts'
import { callersOwn } from './outcome.ts'
import type { Checked, Misfit } from './schema.ts'
import type { IncomingCall } from './types.ts'

/** An input that does not fit: where, and which rule; never the value. */
export function inputError(misfit: Misfit): KithError {
  const { path, problem } = misfit
  const where = path === '' ? '' : ` at ${path}`
  return new KithError('CALL_INPUT', `The input does not fit the schema of the operation${where}: ${problem}`, { details: { path, problem } })
}

/** An input that is absent is an empty object where the operation takes one, and only there. */
export function checkInput({ input: schema }: AnyOperation, value: unknown): Checked {
  const checked = schema.check(value)
  if (checked.ok || value !== undefined) return checked
  const empty = schema.check({})
  return empty.ok || (typeof schema.json === 'object' && schema.json.type === 'object') ? empty : checked
}

async function* one(value: unknown): AsyncGenerator<unknown> {
  yield value
}

async function* none(): AsyncGenerator<unknown> {
  // Nothing comes.
}

/** A caller's stream of inputs, each validated on its way to the handler. */
export class CheckedInputs implements AsyncIterableIterator<unknown> {
  readonly #operation: AnyOperation
  readonly #inner: AsyncIterator<unknown>

  constructor(operation: AnyOperation, request: IncomingCall) {
    this.#operation = operation
    const given = !operation.clientStream ? none() : (request.inputs ?? (request.input === undefined ? none() : one(request.input)))
    this.#inner = given[Symbol.asyncIterator]()
  }

  /** @throws KithError `CALL_INPUT`, or what ended the caller's stream. */
  async next(): Promise<IteratorResult<unknown>> {
    const result = await this.#inner.next()
    if (result.done === true) return { done: true, value: undefined }
    const checked = this.#operation.input.check(result.value)
    if (checked.ok) return { done: false, value: checked.value }
    await this.#inner.return?.()
    throw callersOwn(inputError(checked.misfit))
  }

  async return(): Promise<IteratorResult<unknown>> {
    await this.#inner.return?.()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
