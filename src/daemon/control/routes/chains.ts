import { z } from 'zod'
import type { ChainStanding } from '../../../mesh/types.ts'
import type { NodeContext } from '../../context.ts'
import { callersWords, json, type RoutesOf } from '../route.ts'
import type { ChainDecided, ChainsApi } from './chains-api.ts'

const peer = z.string().min(1).max(200)
const head = z.string().min(1).max(64)

export const chainsRoutes: RoutesOf<ChainsApi> = {
  'POST /v1/peers/anchor': json(z.object({ peer, head: head.optional() }), async ({ mesh }, input) =>
    decided(mesh, input.peer, await callersWords(() => mesh.anchor(input.peer, input.head === undefined ? {} : { head: input.head }))),
  ),
  'POST /v1/peers/repin': json(z.object({ peer, head }), async ({ mesh }, input) =>
    decided(mesh, input.peer, await callersWords(() => mesh.repin(input.peer, input.head))),
  ),
}

function decided(mesh: NodeContext['mesh'], who: string, chain: ChainStanding): ChainDecided {
  const did = mesh.book.resolve(who)
  return { did, name: mesh.book.get(did)?.name ?? null, chain }
}
