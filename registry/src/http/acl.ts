/** `/v1/acl/` and what else needs an ACL to be asked: without ACLs Consul answers all of it in the same three words. */
import { type Answerer, type Endpoint, text } from './endpoint.ts'

const disabled: Answerer = () => text(401, 'ACL support disabled')

export function aclEndpoints(): Endpoint[] {
  const read = { GET: disabled }
  const write = { PUT: disabled }
  const one = { GET: disabled, PUT: disabled, DELETE: disabled }
  const lists = ['tokens', 'policies', 'roles', 'auth-methods', 'binding-rules', 'replication', 'list']
  const kinds = ['token', 'policy', 'role', 'auth-method', 'binding-rule']
  const legacy = ['create', 'update', 'destroy/', 'clone/']
  return [
    ...lists.map((list) => ({ path: `/v1/acl/${list}`, verbs: read })),
    { path: '/v1/acl/token/self', verbs: read },
    { path: '/v1/acl/policy/name/', verbs: read },
    { path: '/v1/acl/role/name/', verbs: read },
    ...kinds.flatMap((kind) => [
      { path: `/v1/acl/${kind}`, verbs: write },
      { path: `/v1/acl/${kind}/`, verbs: one },
    ]),
    { path: '/v1/acl/info/', verbs: read },
    { path: '/v1/acl/bootstrap', verbs: write },
    { path: '/v1/acl/login', verbs: { POST: disabled } },
    { path: '/v1/acl/logout', verbs: { POST: disabled } },
    { path: '/v1/acl/rules/translate', verbs: { POST: disabled } },
    { path: '/v1/acl/rules/translate/', verbs: read },
    ...legacy.map((change) => ({ path: `/v1/acl/${change}`, verbs: write })),
    // The tokens that an agent uses itself, whatever they are called; and profiles, which 1.8 keeps behind ACLs.
    { path: '/v1/agent/token/', verbs: write },
    { path: '/debug/pprof/', verbs: { GET: disabled, PUT: disabled, POST: disabled, DELETE: disabled } },
  ]
}
