// The benchmark `http` for k6: the same POST again and again, its status checked.
import http from 'k6/http';
import { check } from 'k6';

const url = __ENV.TARGET;
const body = __ENV.BODY;
const parameters = { headers: JSON.parse(__ENV.HEADERS) };

export default function () {
  check(http.post(url, body, parameters), { 'is 200': (answer) => answer.status === 200 });
}
