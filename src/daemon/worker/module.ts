import { existsSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { type AnyOperation, defineOperation } from '../../call/define.ts'
import { KithError } from '../../core/errors.ts'

/**
 * Runs a module and collects the operations it exports: by name, as default, or in lists. What `defineOperation` made is taken as it is; a plain object with the same
 * fields is defined here, so that a module needs no dependency.
 * @throws KithError `WORKER_MODULE` when it cannot be loaded, exports nothing that is an operation, or one that is none.
 */
export async function loadOperations(file: string): Promise<readonly AnyOperation[]> {
  let exported: Record<string, unknown>
  try {
    exported = (await import(pathToFileURL(file).href)) as Record<string, unknown>
  } catch (cause) {
    if (!existsSync(file)) throw failed(`There is no file ${file}.`, file, cause)
    throw failed(`${file} cannot be loaded: ${reasonOf(cause)}`, file, cause)
  }
  const found = new Map<string, AnyOperation>()
  for (const [name, value] of Object.entries(exported)) {
    for (const candidate of Array.isArray(value) ? (value as unknown[]) : [value]) {
      if (!looksDefined(candidate)) continue
      try {
        const operation = 'check' in Object(candidate.input) ? (candidate as unknown as AnyOperation) : defineOperation(candidate as never)
        found.set(operation.name, operation)
      } catch (cause) {
        throw failed(`The export ${name} of ${file} is no operation: ${reasonOf(cause)}`, file, cause)
      }
    }
  }
  if (found.size === 0) throw failed(`${file} exports no operation; one is made with defineOperation of kith/call.`, file)
  return [...found.values()]
}

/** Things that are exported besides are nobody's business. */
function looksDefined(value: unknown): value is { readonly name: unknown; readonly kind: unknown; readonly input: unknown; readonly handler: unknown } {
  return typeof value === 'object' && value !== null && 'name' in value && 'kind' in value && 'input' in value && 'handler' in value
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
}

function failed(message: string, file: string, cause?: unknown): KithError {
  return new KithError('WORKER_MODULE', message, { details: { file }, next: 'kith worker --help', ...(cause === undefined ? {} : { cause }) })
}
