import { KithError } from '../core/errors.ts'
import type { AnyOperation } from './define.ts'
import { callersOwn } from './outcome.ts'
import type { Misfit } from './schema.ts'
import type { IncomingCall } from './types.ts'

/** An input that does not fit: where, and which rule; never the value. */
export function inputError(misfit: Misfit): KithError {
  return new KithError('CALL_INPUT', undefined, { details: { path: misfit.path, problem: misfit.problem } })
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
