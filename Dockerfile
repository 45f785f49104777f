# docker build -t vlmcourse . ; docker run --rm -p 8888:8888 -v "$PWD/my_work:/home/student/my_work" vlmcourse
# Lessons are copied into my_work; what is written there stays on the host.
FROM python:3.12-slim
RUN useradd --create-home student
COPY . /course
RUN version=$(sed -n 's/^\(torch==[0-9.]*\).*/\1/p' /course/requirements.lock | head -1) \
    && pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu "$version" \
    && pip install --no-cache-dir /course \
    && rm -r /course
USER student
WORKDIR /home/student
EXPOSE 8888
CMD ["sh", "-c", "vlmcourse update && exec python -m jupyterlab --ip=0.0.0.0 --no-browser --LabApp.default_url=/lab/tree/my_work/Start_here.ipynb"]
